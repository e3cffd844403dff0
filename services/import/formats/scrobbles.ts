/** What exports of scrobblers have in common: starts to the second or minute, names as submitted, seldom more. */
import { countsAsListen } from "../../history/listenRule.js";
import type { ExternalId, Play, PlaySource } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, displayText, instant, isRejected, rejected } from "./fields.js";

/** Clocks of players and scrobblers differ by this much. */
const CLOCK_SLACK_MS = 5000;
/** The last instant of a minute that is named alone. */
const MINUTE_SLACK_MS = 59_999;
const LONGEST_TRACK_MS = 24 * 24 * 60 * 60 * 1000;
const WHOLE_NUMBER = /^\d{1,15}$/;
const MBID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export interface Scrobble {
  readonly source: PlaySource;
  readonly sourceKey: Buffer;
  /** Unix milliseconds; with the precision `minute` the beginning of the minute. */
  readonly startMs: number;
  readonly precision: "second" | "minute";
  readonly title: string;
  readonly artist: string;
  readonly album: string | null;
  readonly msPlayed?: number | null;
  readonly durationMs?: number | null;
  readonly trackId?: ExternalId | null;
  readonly context?: Play["context"];
}

/** The one who scrobbled has already decided that it was a listen, unless the row says how long it was heard. */
export function playOf({ startMs, precision, ...row }: Scrobble): Play {
  const msPlayed = row.msPlayed ?? null;
  const durationMs = row.durationMs ?? null;
  return {
    source: row.source,
    sourceKey: row.sourceKey,
    playedAt: startMs,
    endedAt: null,
    startEarliest: precision === "minute" ? startMs : startMs - CLOCK_SLACK_MS,
    startLatest: startMs + (precision === "minute" ? MINUTE_SLACK_MS : CLOCK_SLACK_MS),
    precision,
    msPlayed,
    durationMs,
    counted: countsAsListen({ msPlayed, durationMs }),
    title: row.title,
    artist: row.artist,
    album: row.album,
    trackId: row.trackId ?? null,
    context: row.context ?? null,
  };
}

/** A Unix time, as a number or as digits, in units of `unitMs`; the result is in milliseconds. */
export function unixInstant(fields: Fields, name: string, unitMs: 1 | 1000, now: number): number | Rejected {
  const value = fields[name];
  if (value === undefined || value === null) return rejected("missing_field", `${name} is missing`);
  const text = typeof value === "number" ? String(value) : value;
  return instant({ [name]: text }, name, (digits) => unixMs(digits, unitMs), now);
}

const unixMs = (digits: string, unitMs: number): number | null =>
  WHOLE_NUMBER.test(digits) ? Number(digits) * unitMs : null;

/** A length in units of `unitMs`, in whole milliseconds; null when the field says nothing that can be one. */
export function lengthMs(fields: Fields, name: string, unitMs: 1 | 1000): number | null {
  const value = fields[name];
  const number = typeof value === "string" && WHOLE_NUMBER.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number) || number <= 0) return null;
  const length = Math.round(number * unitMs);
  return length <= LONGEST_TRACK_MS ? length : null;
}

/** The object in a field; an empty one when it is none. */
export function inside(fields: Fields, name: string): Fields {
  return asFields(fields[name]) ?? {};
}

/** An album says little: one that cannot be read is refused, one that is absent is not. */
export function names(
  fields: { readonly title: Fields; readonly artist: Fields; readonly album: Fields },
  keys: { readonly title: string; readonly artist: string; readonly album: string },
): { readonly title: string; readonly artist: string; readonly album: string | null } | Rejected {
  const title = displayText(fields.title, keys.title);
  if (isRejected(title)) return title;
  const artist = displayText(fields.artist, keys.artist);
  if (isRejected(artist)) return artist;
  const album = displayText(fields.album, keys.album);
  if (isRejected(album)) return album;
  if (title === null) return rejected("missing_field", "The title is missing");
  if (artist === null) return rejected("missing_field", "The artist is missing");
  return { title, artist, album };
}

/** An id of a MusicBrainz recording; null when the value is none. */
export function recordingId(value: unknown): ExternalId | null {
  return typeof value === "string" && MBID.test(value)
    ? { provider: "musicbrainz", id: value.toLowerCase() }
    : null;
}
