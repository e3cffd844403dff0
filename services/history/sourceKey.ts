/**
 * The identity of a source row: 16 bytes that depend on nothing but the row itself, so that a newer export of
 * the same rows, split or shuffled, gives the same keys. Frozen for ever; docs/adr/0004 has the exact rules and
 * test/services/history/sourceKey.test.ts the vectors that hold them.
 */
import { hash } from "node:crypto";
import type { PlaySource } from "../import/types.js";

/** Families whose key is computed; `playlog` carries the key of the row it was exported from. */
export type KeyedSource = Exclude<PlaySource, "playlog">;

type KeyPart = string | number | readonly string[];

export interface RowIdentity {
  /** The row's own time in Unix milliseconds (never a derived start); cut to the family's precision. */
  readonly instantMs: number;
  /** The strong id, else the names as the row has them. Strings are made NFC and trimmed here. */
  readonly what: string | readonly KeyPart[];
  /** Milliseconds played for the families that list them, else null. */
  readonly n: number | null;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

/** Finest unit of the instant that is part of a family's key, in milliseconds. */
const INSTANT_UNIT: Readonly<Record<KeyedSource, number>> = {
  "spotify-extended": SECOND,
  "spotify-account": MINUTE,
  "spotify-live": 1,
  "apple-export": 1,
  "apple-daily": DAY,
  "apple-live": 1,
  "youtube-json": 1,
  "youtube-html": SECOND,
  listenbrainz: SECOND,
  lastfm: SECOND,
  "lastfm-minute": MINUTE,
  maloja: SECOND,
  koito: SECOND,
  manual: 1,
};

/** Throws RangeError for an instant outside 1970-2106, which no accepted row has. */
export function sourceKey(family: KeyedSource, { instantMs, what, n }: RowIdentity): Buffer {
  const unit = INSTANT_UNIT[family];
  const instant = Math.floor(instantMs / unit) * unit;
  const text = `["v1","${family}","${isoTime(instant)}",${JSON.stringify(clean(what))},${n ?? "null"}]`;
  const key = Buffer.allocUnsafe(16);
  key.writeUInt32BE(Math.floor(instant / SECOND), 0);
  // By way of hex digits: a Buffer for the whole hash would take longer than the hash itself.
  key.write(hash("sha256", text).slice(0, 24), 4, "hex");
  return key;
}

/** Rows come roughly in time order: the date is nearly always that of the row before, and formatting one is dear. */
let lastDay = { startMs: NaN, text: "" };

/** As Date's toISOString: UTC with milliseconds. */
function isoTime(ms: number): string {
  const startMs = Math.floor(ms / DAY) * DAY;
  if (lastDay.startMs !== startMs) {
    lastDay = { startMs, text: new Date(startMs).toISOString().slice(0, 11) };
  }
  const rest = ms - startMs;
  const hours = digits(Math.floor(rest / 3_600_000), 2);
  const minutes = digits(Math.floor(rest / MINUTE) % 60, 2);
  const seconds = digits(Math.floor(rest / SECOND) % 60, 2);
  return `${lastDay.text}${hours}:${minutes}:${seconds}.${digits(rest % SECOND, 3)}Z`;
}

function digits(value: number, count: number): string {
  return String(value).padStart(count, "0");
}

function clean(what: string | readonly KeyPart[]): string | KeyPart[] {
  if (typeof what === "string") return cleanText(what);
  return what.map((part) => {
    if (typeof part === "number") return part;
    return typeof part === "string" ? cleanText(part) : part.map(cleanText);
  });
}

const ASCII = /^[\x20-\x7e]*$/;

/** Lone surrogates first: PostgreSQL could not store them, so no row may differ by them alone. */
function cleanText(text: string): string {
  if (ASCII.test(text)) return text.trim();
  return text
    .replace(/\p{Surrogate}/gu, "\ufffd")
    .normalize("NFC")
    .trim();
}

interface Names {
  readonly artist: string;
  readonly title: string;
}

/** `uri`: only a real `spotify:track:` URI; null makes the names decide. `endMs`: the row's `ts`. */
export function spotifyExtendedKey(
  row: Names & { readonly endMs: number; readonly uri: string | null; readonly msPlayed: number },
): Buffer {
  return sourceKey("spotify-extended", {
    instantMs: row.endMs,
    what: row.uri ?? [row.artist, row.title],
    n: row.msPlayed,
  });
}

/** `endMs`: the row's `endTime`, a whole minute. */
export function spotifyAccountKey(
  row: Names & { readonly endMs: number; readonly msPlayed: number },
): Buffer {
  return sourceKey("spotify-account", {
    instantMs: row.endMs,
    what: [row.artist, row.title],
    n: row.msPlayed,
  });
}

export function spotifyLiveKey(item: { readonly playedAtMs: number; readonly uri: string }): Buffer {
  return sourceKey("spotify-live", { instantMs: item.playedAtMs, what: item.uri, n: null });
}

/** Of the first segment: its Event End (Event Start for PLAY_START rows) and its ms; absent names are ''. */
export function appleExportKey(segment: {
  readonly eventMs: number;
  readonly artist: string | null;
  readonly title: string;
  readonly album: string | null;
  readonly msPlayed: number | null;
}): Buffer {
  return sourceKey("apple-export", {
    instantMs: segment.eventMs,
    what: [segment.artist ?? "", segment.title, segment.album ?? ""],
    n: segment.msPlayed,
  });
}

/** `ordinal`: 1 to Play Count, one key for each play that a daily row stands for. */
export function appleDailyKey(row: {
  readonly dateMs: number;
  readonly trackIdentifier: string;
  readonly description: string;
  readonly sourceType: string;
  readonly endReasonType: string;
  readonly ordinal: number;
}): Buffer {
  return sourceKey("apple-daily", {
    instantMs: row.dateMs,
    what: [row.trackIdentifier, row.description, row.sourceType, row.endReasonType, row.ordinal],
    n: null,
  });
}

/** `polledAtMs`: stored before the fetch. `place`: 0-based place in the fetched list. */
export function appleLiveKey(item: {
  readonly polledAtMs: number;
  readonly songId: string;
  readonly place: number;
}): Buffer {
  return sourceKey("apple-live", { instantMs: item.polledAtMs, what: [item.songId, item.place], n: null });
}

export function youtubeKey(
  family: "youtube-json" | "youtube-html",
  entry: {
    readonly openedMs: number;
    readonly videoId: string | null;
    readonly channel: string;
    readonly title: string;
  },
): Buffer {
  return sourceKey(family, {
    instantMs: entry.openedMs,
    what: entry.videoId ?? [entry.channel, entry.title],
    n: null,
  });
}

/** `recordingMsid`: ListenBrainz' own id of the submitted texts; mapped MBIDs change and are never used. */
export function listenbrainzKey(
  listen: Names & { readonly listenedAtMs: number; readonly recordingMsid: string | null },
): Buffer {
  return sourceKey("listenbrainz", {
    instantMs: listen.listenedAtMs,
    what: listen.recordingMsid ?? [listen.artist, listen.title],
    n: null,
  });
}

/** Files and live alike. `lastfm-minute`: exports whose times end at the minute. */
export function lastfmKey(
  family: "lastfm" | "lastfm-minute",
  scrobble: Names & { readonly scrobbledMs: number },
): Buffer {
  return sourceKey(family, {
    instantMs: scrobble.scrobbledMs,
    what: [scrobble.artist, scrobble.title],
    n: null,
  });
}

/** Maloja lists artists in no order of its own: they are sorted by UTF-16 code units after cleaning. */
export function malojaKey(scrobble: {
  readonly scrobbledMs: number;
  readonly artists: readonly string[];
  readonly title: string;
}): Buffer {
  return sourceKey("maloja", {
    instantMs: scrobble.scrobbledMs,
    what: [scrobble.artists.map(cleanText).sort(), scrobble.title],
    n: null,
  });
}

/** Primary names, as Koito's export marks them. */
export function koitoKey(listen: Names & { readonly listenedAtMs: number }): Buffer {
  return sourceKey("koito", { instantMs: listen.listenedAtMs, what: [listen.artist, listen.title], n: null });
}

/** Names of the resolved track. */
export function manualKey(play: Names & { readonly playedAtMs: number }): Buffer {
  return sourceKey("manual", { instantMs: play.playedAtMs, what: [play.artist, play.title], n: null });
}

/** The key that playlog's own export wrote, 32 hex digits; null when it is none. */
export function exportedKey(hex: string): Buffer | null {
  return /^[0-9a-f]{32}$/i.test(hex) ? Buffer.from(hex, "hex") : null;
}
