/**
 * A made-up listener: Spotify extended-history records from a seeded generator, shaped like real ones (23 keys,
 * about 620 bytes each, in time order). Tracks follow a Zipf law, so a catalogue is as warm as in real life.
 */
import { zip } from "../../test/support/zip.js";

export interface ListenerOptions {
  readonly rows: number;
  readonly seed?: number;
  readonly tracks?: number;
  readonly artists?: number;
}

/** mulberry32: small, fast, the same everywhere. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Draws 0..n-1 with probability proportional to 1 / rank^exponent. */
export function zipf(n: number, exponent: number, next: () => number): () => number {
  const cumulative = new Float64Array(n);
  let sum = 0;
  for (let i = 0; i < n; i++) cumulative[i] = sum += 1 / (i + 1) ** exponent;
  return () => {
    const target = next() * sum;
    let low = 0;
    let high = n - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? 0) < target) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

const SYLLABLES = "ka lo mi ren ta vu shi dor el na po qui ras te un wyl xa yor zen bri".split(" ");
const ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** A pronounceable name for `n`, unique by its number at the end. */
function nameOf(n: number, words: number): string {
  const next = random(n + 1);
  const parts: string[] = [];
  for (let w = 0; w < words; w++) {
    let word = "";
    for (let s = 0; s < 2 + Math.floor(next() * 2); s++)
      word += SYLLABLES[Math.floor(next() * SYLLABLES.length)];
    parts.push(word.charAt(0).toUpperCase() + word.slice(1));
  }
  return `${parts.join(" ")} ${n.toString(36)}`;
}

function base62(n: number): string {
  const next = random(n * 7 + 3);
  let id = "";
  for (let i = 0; i < 22; i++) id += ALPHABET[Math.floor(next() * ALPHABET.length)];
  return id;
}

/** The records, oldest first. Every record is a distinct play. */
export function* listenerRecords(options: ListenerOptions): Generator<Record<string, unknown>> {
  const { rows, seed = 1, tracks = 60_000, artists = 7_700 } = options;
  const next = random(seed);
  const draw = zipf(tracks, 0.9, next);
  const artistOf = zipf(artists, 0.6, random(seed + 1));
  const owners = Int32Array.from({ length: tracks }, () => artistOf());
  const names: (readonly [string, string, string, string])[] = [];
  const start = Date.UTC(2016, 0, 1);
  const step = (8 * 365 * 86_400_000) / rows;
  for (let row = 0; row < rows; row++) {
    const track = draw();
    const owner = owners[track] ?? 0;
    const [title, artist, album, uri] = (names[track] ??= [
      nameOf(track, 3),
      nameOf(1_000_000 + owner, 2),
      nameOf(2_000_000 + owner * 2 + (track % 2), 2),
      `spotify:track:${base62(track)}`,
    ]);
    const begin = start + Math.floor(row * step);
    const played = Math.floor(next() * 240_000);
    const end = new Date(begin + played);
    yield {
      ts: `${end.toISOString().slice(0, 19)}Z`,
      platform: next() < 0.7 ? "ios" : "web_player windows 10;firefox 115.0;desktop",
      ms_played: played,
      conn_country: "NL",
      ip_addr: "0.0.0.0",
      master_metadata_track_name: title,
      master_metadata_album_artist_name: artist,
      master_metadata_album_album_name: album,
      spotify_track_uri: uri,
      episode_name: null,
      episode_show_name: null,
      spotify_episode_uri: null,
      audiobook_title: null,
      audiobook_uri: null,
      audiobook_chapter_uri: null,
      audiobook_chapter_title: null,
      reason_start: "trackdone",
      reason_end: next() < 0.6 ? "trackdone" : "fwdbtn",
      shuffle: next() < 0.5,
      skipped: false,
      offline: false,
      offline_timestamp: Math.floor(begin / 1000),
      incognito_mode: false,
    };
  }
}

/** A ZIP as Spotify sends it: `parts` JSON files of equal length in one folder. */
export function listenerArchive(options: ListenerOptions & { readonly parts: number }): Buffer {
  const perPart = Math.ceil(options.rows / options.parts);
  const files: { name: string; data: string }[] = [];
  let current: string[] = [];
  const close = (): void => {
    const name = `Spotify Extended Streaming History/Streaming_History_Audio_${files.length}.json`;
    files.push({ name, data: `[${current.join(",")}]` });
    current = [];
  };
  for (const record of listenerRecords(options)) {
    current.push(JSON.stringify(record));
    if (current.length === perPart) close();
  }
  if (current.length > 0) close();
  return zip(files);
}
