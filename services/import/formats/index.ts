/** Every format that can be imported. The first that recognises a record wins, so narrow ones come first. */
import type { ImportFormat } from "../types.js";
import { appleActivity } from "./appleActivity.js";
import { appleDaily } from "./appleDaily.js";
import { appleLibrary, appleRecent, appleTrackHistory } from "./appleLookUps.js";
import { spotifyAccount } from "./spotifyAccount.js";
import { spotifyExtended } from "./spotifyExtended.js";

export const FORMATS: readonly ImportFormat[] = [
  spotifyExtended,
  spotifyAccount,
  appleActivity,
  appleDaily,
  appleLibrary,
  appleRecent,
  appleTrackHistory,
];

export function formatByName(name: string): ImportFormat | undefined {
  return FORMATS.find((format) => format.name === name);
}
