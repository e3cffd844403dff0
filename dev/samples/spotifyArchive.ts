/**
 * The Spotify export of an invented listener, for the demo: five years, every generation of the format, and
 * everything that happens in real ones. The same bytes each time, and the numbers an import must report.
 */
import { zip } from "../../test/support/zip.js";

/** A row of `Streaming_History_*.json`, with the fields that differ between these rows. */
interface Row {
  ts: string;
  ms_played: number;
  [field: string]: string | number | boolean | null;
}

interface Artist {
  readonly name: string;
  readonly album: string;
  readonly tracks: readonly string[];
  /** How often, against the others, the listener picks this artist. */
  readonly weight: number;
}

const ARTISTS: readonly Artist[] = [
  { name: "Velvet Harbour", album: "Low Tide Signals", tracks: ["Lighthouse Radio", "Saltwater Teeth", "Moor Me", "Anchors (feat. Mira Solano)"], weight: 9 }, // prettier-ignore
  { name: "Mira Solano", album: "Cartas", tracks: ["Ladeira", "Às Seis da Manhã", "Carta Nº 4"], weight: 7 },
  { name: "The Paper Lanterns", album: "Slow Fires", tracks: ["Kindling", "Slow Fires", "Ash Wednesday, Again"], weight: 5 }, // prettier-ignore
  { name: "夜行バス", album: "終点まで", tracks: ["始発", "窓ぎわ", "終点まで"], weight: 4 },
  { name: "Tyr & the Cartographers", album: "Here Be", tracks: ["Meridian", "Here Be", "Contour Lines - 2011 Remaster"], weight: 4 }, // prettier-ignore
  { name: "Øya Brønn", album: "Nordover", tracks: ["Nordover", "Isbre", "Fjellvann"], weight: 3 },
  { name: "Neon Orchard", album: "Synthetic Fruit", tracks: ["Peel", "Core Memory", "Graft"], weight: 2 },
  { name: "Quartet for Rain", album: "Études", tracks: ["Étude in Grey", "Étude in Greyer"], weight: 1 },
];
const PODCASTS = ["Maps Nobody Reads", "Half an Hour of Bees"];
const PLAYS = 200;
const REPEATS = 6;
const PODCAST_ROWS = 5;
const VIDEO_ROWS = 2;
/** A private session, and a row whose time is none. */
const ODD_ROWS = 2;

/** What the import must say, whatever had been imported before. */
export const SPOTIFY_SAMPLE = {
  filename: "my_spotify_data.zip",
  read: PLAYS + REPEATS + PODCAST_ROWS + VIDEO_ROWS + ODD_ROWS,
  /** Rows that are in the history afterwards, one of them with 0 ms. */
  kept: PLAYS,
  repeats: REPEATS,
  skipped: { podcast: PODCAST_ROWS, video: VIDEO_ROWS, incognito: 1 },
  rejected: { bad_time: 1 },
} as const;

/** The archive as Spotify would send it. */
export function spotifySampleArchive(): Buffer {
  const random = seeded(20_191_104);
  const plays = Array.from({ length: PLAYS }, (_, n) => musicRow(random, n));
  const older = plays.slice(0, 90);
  const newer = plays.slice(90);
  // Spotify's files overlap at their borders: the last rows of one are the first of the next.
  newer.unshift(...older.slice(-REPEATS));
  newer.splice(20, 0, { ...musicRow(random, PLAYS), incognito_mode: true });
  newer.splice(60, 0, {
    ...musicRow(random, PLAYS + 1),
    ts: "2023-02-30T25:61:00Z",
    offline_timestamp: null,
  });
  const video: Row[] = [];
  for (let n = 0; n < PODCAST_ROWS; n += 1) {
    (n < 3 ? newer : video).push(podcastRow(random, n));
  }
  for (let n = 0; n < VIDEO_ROWS; n += 1)
    video.push({ ...musicRow(random, PLAYS + 2 + n), ms_played: 9_000 + n });

  const folder = "Spotify Extended Streaming History";
  return zip([
    {
      name: `${folder}/ReadMeFirst.txt`,
      data: "Made for the demo of playlog. The listener does not exist.\n",
    },
    { name: `${folder}/Streaming_History_Audio_2019-2021_0.json`, data: JSON.stringify(older, null, 2) },
    { name: `${folder}/Streaming_History_Audio_2021-2024_1.json`, data: JSON.stringify(newer) },
    { name: `${folder}/Streaming_History_Video_2024.json`, data: JSON.stringify(video) },
  ]);
}

const FIRST_PLAY = Date.UTC(2019, 10, 4, 18, 30);
const LAST_PLAY = Date.UTC(2024, 5, 28, 22, 0);

function musicRow(random: () => number, n: number): Row {
  const artist = pick(random);
  const at = Math.floor(random() * artist.tracks.length);
  const track = artist.tracks[at] ?? "";
  const whole = 150_000 + Math.floor(random() * 140_000);
  const skipped = random() < 0.15;
  const played = n === 120 ? 0 : skipped ? Math.floor(random() * 25_000) + 1_000 : whole;
  // An evening's worth of plays, then a few days without; never two rows in one second.
  const evening = ((LAST_PLAY - FIRST_PLAY) / PLAYS) * (n - (n % 8));
  const start = Math.floor((FIRST_PLAY + evening + (n % 8) * 300_000) / 1000);
  return {
    ...common(start, played, random),
    master_metadata_track_name: track,
    master_metadata_album_artist_name: artist.name,
    master_metadata_album_album_name: artist.album,
    spotify_track_uri: `spotify:track:${base62(`${ARTISTS.indexOf(artist)}.${at}`)}`,
    reason_start: n % 8 === 0 ? "clickrow" : "trackdone",
    reason_end: skipped ? "fwdbtn" : "trackdone",
    skipped,
  };
}

function podcastRow(random: () => number, n: number): Row {
  const start = Math.floor((LAST_PLAY + n * 7_200_000) / 1000);
  return {
    ...common(start, 1_500_000 + n, random),
    episode_name: `Episode ${n + 1}`,
    episode_show_name: PODCASTS[n % PODCASTS.length] ?? "",
    spotify_episode_uri: `spotify:episode:${base62(`episode.${n}`)}`,
    reason_start: "clickrow",
    reason_end: "endplay",
    skipped: false,
  };
}

function common(start: number, played: number, random: () => number): Row {
  const end = start + Math.ceil(played / 1000);
  // Spotify wrote the start of a play as Unix seconds only from late 2022 on.
  const modern = end > Date.UTC(2022, 9, 14) / 1000;
  return {
    ts: new Date(end * 1000).toISOString().replace(".000", ""),
    platform: random() < 0.7 ? "android" : "web_player linux;firefox 121.0;desktop",
    ms_played: played,
    conn_country: "PT",
    ip_addr: "0.0.0.0",
    master_metadata_track_name: null,
    master_metadata_album_artist_name: null,
    master_metadata_album_album_name: null,
    spotify_track_uri: null,
    episode_name: null,
    episode_show_name: null,
    spotify_episode_uri: null,
    audiobook_title: null,
    audiobook_uri: null,
    audiobook_chapter_uri: null,
    audiobook_chapter_title: null,
    shuffle: random() < 0.5,
    offline: false,
    offline_timestamp: modern ? start : null,
    incognito_mode: false,
  };
}

function pick(random: () => number): Artist {
  let left = random() * ARTISTS.reduce((sum, artist) => sum + artist.weight, 0);
  const found = ARTISTS.find((artist) => (left -= artist.weight) < 0);
  return found ?? (ARTISTS[0] as Artist);
}

/** Mulberry32: small, and the same on every machine. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** 22 characters like those of Spotify's ids, the same for the same text. */
function base62(text: string): string {
  const random = seeded([...text].reduce((hash, char) => Math.imul(hash, 31) + char.charCodeAt(0), 7));
  return Array.from({ length: 22 }, () => ALPHABET[Math.floor(random() * 62)]).join("");
}
