/**
 * Spotify's extended streaming history, every generation: `endsong` and 21-key files (with user name and user
 * agent, which are never read), 23-key files with audiobook fields, and hand-anonymised ones with "" for unknown.
 */
import { countsAsListen } from "../../history/listenRule.js";
import { spotifyExtendedKey } from "../../history/sourceKey.js";
import type { ExternalId, FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import {
  asFields,
  contextFlag,
  contextText,
  displayText,
  excerptOf,
  hasValue,
  instant,
  isRejected,
  milliseconds,
  PAUSE_SLACK_MS,
  rejected,
  requiredText,
} from "./fields.js";
import { parseIsoUtc } from "./times.js";

const TITLE = "master_metadata_track_name";
const ARTIST = "master_metadata_album_artist_name";
const ALBUM = "master_metadata_album_album_name";
const EPISODE_FIELDS = ["episode_name", "episode_show_name", "spotify_episode_uri"];
const AUDIOBOOK_FIELDS = [
  "audiobook_title",
  "audiobook_uri",
  "audiobook_chapter_title",
  "audiobook_chapter_uri",
];
const SHOWN_FIELDS = [
  "ts",
  "ms_played",
  TITLE,
  ARTIST,
  ALBUM,
  "spotify_track_uri",
  ...EPISODE_FIELDS,
  ...AUDIOBOOK_FIELDS,
  "platform",
  "conn_country",
  "reason_start",
  "reason_end",
  "shuffle",
  "skipped",
  "offline",
  "offline_timestamp",
  "incognito_mode",
];

const TRACK_URI = /^spotify:track:([0-9A-Za-z]{22})$/;
/** `offline_timestamp` is in milliseconds in older rows and in seconds since late 2022. */
const SMALLEST_MILLISECOND_STAMP = 1e11;
const COUNTRY = /^[A-Z]{2}$/;
const UNKNOWN_COUNTRY = "ZZ";
const LONGEST_PLAY_MS = 7 * 24 * 60 * 60 * 1000;
const CLOCK_SLACK_MS = 2000;

export const spotifyExtended: ImportFormat = {
  name: "spotify-extended",
  source: "spotify-extended",
  container: "json-array",

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    if (fields === undefined) return false;
    const known = ["ts", "ms_played", TITLE, ARTIST, "spotify_track_uri", "spotify_episode_uri"].filter(
      (name) => name in fields,
    );
    return known.length >= 2 && ("ts" in fields || "ms_played" in fields);
  },

  judge(record: unknown, context: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    if (EPISODE_FIELDS.some((name) => hasValue(fields, name)))
      return { verdict: "skipped", reason: "podcast" };
    if (AUDIOBOOK_FIELDS.some((name) => hasValue(fields, name))) {
      return { verdict: "skipped", reason: "audiobook" };
    }
    if (!hasValue(fields, TITLE) && !hasValue(fields, ARTIST))
      return { verdict: "skipped", reason: "removed" };
    if (isVideoFile(context.name)) return { verdict: "skipped", reason: "video" };
    if (fields["incognito_mode"] === true && !context.includeIncognito) {
      return { verdict: "skipped", reason: "incognito" };
    }
    const play = readPlay(fields, context.now);
    return isRejected(play) ? play : { verdict: "play", play };
  },

  excerpt(record: unknown): string {
    return excerptOf(record, SHOWN_FIELDS);
  },
};

/** A video file has the keys of an audio file: here, and only here, the name decides. */
function isVideoFile(name: string): boolean {
  return /video/i.test(name.split(/[/\\]/).at(-1) ?? "");
}

function readPlay(fields: Fields, now: number): Play | Rejected {
  const end = instant(fields, "ts", parseIsoUtc, now);
  if (isRejected(end)) return end;
  const msPlayed = milliseconds(fields, "ms_played");
  if (isRejected(msPlayed)) return msPlayed;
  const title = requiredText(fields, TITLE);
  if (isRejected(title)) return title;
  const artist = requiredText(fields, ARTIST);
  if (isRejected(artist)) return artist;
  const album = displayText(fields, ALBUM);
  if (isRejected(album)) return album;

  const trackId = readTrackId(fields);
  const uri = trackId === null ? null : `spotify:track:${trackId.id}`;
  return {
    source: "spotify-extended",
    sourceKey: spotifyExtendedKey({ endMs: end, uri, artist, title, msPlayed }),
    ...startOf(end, msPlayed, fields["offline_timestamp"]),
    endedAt: end,
    precision: "second",
    msPlayed,
    durationMs: null,
    counted: countsAsListen({ msPlayed, durationMs: null }),
    title,
    artist,
    album,
    trackId,
    context: readContext(fields),
  };
}

/**
 * `offline_timestamp` is the start wherever it is set and plausible, whatever its name says; without it only
 * the end and the milliseconds heard are known, so pauses may have put the start earlier.
 */
function startOf(
  end: number,
  msPlayed: number,
  stamp: unknown,
): Pick<Play, "playedAt" | "startEarliest" | "startLatest"> {
  if (typeof stamp === "number" && Number.isInteger(stamp) && stamp > 0) {
    const start = stamp > SMALLEST_MILLISECOND_STAMP ? stamp : stamp * 1000;
    if (start <= end && end - start <= LONGEST_PLAY_MS) {
      return { playedAt: start, startEarliest: start - CLOCK_SLACK_MS, startLatest: start + CLOCK_SLACK_MS };
    }
  }
  const start = end - msPlayed;
  return {
    playedAt: start,
    startEarliest: start - CLOCK_SLACK_MS - PAUSE_SLACK_MS,
    startLatest: start + CLOCK_SLACK_MS,
  };
}

/** Only a catalogue id is strong: `spotify:local:` names a file on somebody's own disk. */
function readTrackId(fields: Fields): ExternalId | null {
  const uri = fields["spotify_track_uri"];
  const id = typeof uri === "string" ? TRACK_URI.exec(uri.trim())?.[1] : undefined;
  return id === undefined ? null : { provider: "spotify", id };
}

function readContext(fields: Fields): Play["context"] {
  const context: Record<string, string | boolean> = {};
  const country = contextText(fields, "conn_country");
  keep(context, "platform", contextText(fields, "platform"));
  if (country !== undefined && COUNTRY.test(country) && country !== UNKNOWN_COUNTRY)
    context["country"] = country;
  keep(context, "reasonStart", contextText(fields, "reason_start"));
  keep(context, "reasonEnd", contextText(fields, "reason_end"));
  keep(context, "shuffle", contextFlag(fields, "shuffle"));
  keep(context, "skipped", contextFlag(fields, "skipped"));
  keep(context, "offline", contextFlag(fields, "offline"));
  keep(context, "incognito", contextFlag(fields, "incognito_mode"));
  return Object.keys(context).length === 0 ? null : context;
}

function keep(
  context: Record<string, string | boolean>,
  name: string,
  value: string | boolean | undefined,
): void {
  if (value !== undefined) context[name] = value;
}
