/**
 * The streaming history in Spotify's account data: about the last year, without albums or ids, times cut to the
 * minute. Music, podcast and audiobook files differ by their keys, which are looked at in each record, so that
 * parts merged by hand are read too. Files from before 2024 hold podcasts without any mark; those stay plays.
 */
import { countsAsListen } from "../../history/listenRule.js";
import { spotifyAccountKey } from "../../history/sourceKey.js";
import type { FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import {
  asFields,
  excerptOf,
  hasValue,
  instant,
  isRejected,
  milliseconds,
  PAUSE_SLACK_MS,
  rejected,
  requiredText,
} from "./fields.js";
import { parseUtcMinute } from "./times.js";

const PODCAST_FIELDS = ["podcastName", "episodeName"];
const AUDIOBOOK_FIELDS = ["audiobookName", "chapterName", "authorName"];
const SHOWN_FIELDS = [
  "endTime",
  "msPlayed",
  "artistName",
  "trackName",
  ...PODCAST_FIELDS,
  ...AUDIOBOOK_FIELDS,
];

/** What Spotify writes when the content was taken down. */
const REMOVED_ARTIST = "Unknown Artist";
const REMOVED_TRACK = "Unknown Track";

/** `endTime` names the minute in which the play ended. */
const MINUTE_SLACK_MS = 59_999;

export const spotifyAccount: ImportFormat = {
  name: "spotify-account",
  source: "spotify-account",
  container: "json-array",

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    if (fields === undefined) return false;
    return (
      SHOWN_FIELDS.filter((name) => name in fields).length >= 2 &&
      ("endTime" in fields || "msPlayed" in fields)
    );
  },

  judge(record: unknown, context: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    if (PODCAST_FIELDS.some((name) => hasValue(fields, name)))
      return { verdict: "skipped", reason: "podcast" };
    if (AUDIOBOOK_FIELDS.some((name) => hasValue(fields, name))) {
      return { verdict: "skipped", reason: "audiobook" };
    }
    if (isRemoved(fields)) return { verdict: "skipped", reason: "removed" };
    const play = readPlay(fields, context.now);
    return isRejected(play) ? play : { verdict: "play", play };
  },

  excerpt(record: unknown): string {
    return excerptOf(record, SHOWN_FIELDS);
  },
};

function isRemoved(fields: Fields): boolean {
  if (fields["artistName"] === REMOVED_ARTIST || fields["trackName"] === REMOVED_TRACK) return true;
  return !hasValue(fields, "artistName") && !hasValue(fields, "trackName");
}

function readPlay(fields: Fields, now: number): Play | Rejected {
  const endMinute = instant(fields, "endTime", parseUtcMinute, now);
  if (isRejected(endMinute)) return endMinute;
  const msPlayed = milliseconds(fields, "msPlayed");
  if (isRejected(msPlayed)) return msPlayed;
  const title = requiredText(fields, "trackName");
  if (isRejected(title)) return title;
  const artist = requiredText(fields, "artistName");
  if (isRejected(artist)) return artist;

  const start = endMinute - msPlayed;
  return {
    source: "spotify-account",
    sourceKey: spotifyAccountKey({ endMs: endMinute, artist, title, msPlayed }),
    playedAt: start,
    endedAt: endMinute,
    startEarliest: start - PAUSE_SLACK_MS,
    startLatest: start + MINUTE_SLACK_MS,
    precision: "minute",
    msPlayed,
    durationMs: null,
    counted: countsAsListen({ msPlayed, durationMs: null }),
    title,
    artist,
    album: null,
    trackId: null,
    context: null,
  };
}
