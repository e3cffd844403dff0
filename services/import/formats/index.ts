/** Every format that can be imported. The first that recognises a record wins, so narrow ones come first. */
import type { ImportFormat } from "../types.js";
import { appleActivity } from "./appleActivity.js";
import { appleDaily } from "./appleDaily.js";
import { appleLibrary, appleRecent, appleTrackHistory } from "./appleLookUps.js";
import { koito } from "./koito.js";
import {
  lastfmCsv,
  lastfmList,
  lastfmMinuteCsv,
  lastfmOffsetCsv,
  lastfmPages,
  lastfmStats,
} from "./lastfm.js";
import { listenbrainz, listenbrainzList } from "./listenbrainz.js";
import { maloja } from "./maloja.js";
import { playlog } from "./playlog.js";
import { spotifyAccount } from "./spotifyAccount.js";
import { spotifyExtended } from "./spotifyExtended.js";
import { youtubeHtml } from "./youtubeHtml.js";
import { youtubeJson } from "./youtubeJson.js";

export const FORMATS: readonly ImportFormat[] = [
  spotifyExtended,
  spotifyAccount,
  appleActivity,
  appleDaily,
  appleLibrary,
  appleRecent,
  appleTrackHistory,
  listenbrainz,
  listenbrainzList,
  lastfmPages,
  lastfmList,
  lastfmStats,
  lastfmCsv,
  lastfmOffsetCsv,
  lastfmMinuteCsv,
  maloja,
  koito,
  playlog,
  youtubeJson,
  youtubeHtml,
];

export function formatByName(name: string): ImportFormat | undefined {
  return FORMATS.find((format) => format.name === name);
}
