/**
 * A made-up catalogue of any size, the same for the same seed: names out of a vocabulary under a Zipf law, so that the most
 * common word is in about every third name and most words are rare, as in real ones; popularity under another.
 */
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { random, zipf } from "./spotifyArchive.js";

export interface CatalogueOptions {
  readonly tracks: number;
  readonly artists?: number;
  readonly vocabulary?: number;
  readonly seed?: number;
}

export interface MadeTrack {
  readonly title: string;
  readonly artist: string;
}

export interface MadeCatalogue {
  readonly artists: readonly string[];
  /** The hundred most common words: of a million tracks, each is in some thousands. */
  readonly common: ReadonlySet<string>;
  /** Owner and title of each track; the n-th has the id n + 1, and so do artists, which begin at 2. */
  readonly owners: Int32Array;
  readonly titles: readonly string[];
  /** Plays of each track. */
  readonly popularity: Int32Array;
  track(index: number): MadeTrack;
  /** Index of a track, popular ones as much more often as they are played more. */
  drawPlayed(): number;
}

const ONSETS =
  "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr kr pl pr sh sk sl sp st str th tr".split(" ");
const VOWELS = "a e i o u a e i o ai ea ee ie oo ou".split(" ");
const CODAS = ["", "", "", "l", "m", "n", "r", "s", "t", "ck", "nd", "ng", "rt", "st"];
const MOST_PLAYS = 1_000_000;
const PIECE_ROWS = 2000;
const COMMON = 100;
/** 1 is the artist that every database has. */
const FIRST_ARTIST_ID = 2;

export function makeCatalogue(options: CatalogueOptions): MadeCatalogue {
  const { tracks, artists: artistCount = Math.ceil(tracks / 5), vocabulary = 139_000, seed = 1 } = options;
  const next = random(seed);
  const words = makeWords(vocabulary, next);
  const word = zipf(words.length, 1, next);
  const phrase = (most: number): string =>
    Array.from({ length: 1 + Math.floor(next() * most) }, () => words[word()]).join(" ");
  const artists = distinct(artistCount, () => phrase(3));
  const owner = zipf(artistCount, 0.6, next);
  const owners = new Int32Array(tracks);
  const titles: string[] = [];
  const seen = new Set<string>();
  while (titles.length < tracks) {
    const [artist, title] = [owner(), phrase(5)];
    const key = `${artist} ${title}`;
    if (seen.has(key)) continue;
    seen.add(key);
    owners[titles.length] = artist;
    titles.push(title);
  }
  const byRank = shuffled(tracks, next);
  const popularity = new Int32Array(tracks);
  for (const [rank, track] of byRank.entries())
    popularity[track] = Math.floor(MOST_PLAYS / (rank + 1) ** 0.9);
  const rank = zipf(tracks, 0.9, next);
  return {
    artists,
    common: new Set(words.slice(0, COMMON)),
    owners,
    titles,
    popularity,
    track: (index) => ({
      title: titles[index] as string,
      artist: artists[owners[index] as number] as string,
    }),
    drawPlayed: () => byRank[rank()] as number,
  };
}

/** Copies it into the empty tables of a catalogue. The role must be allowed to leave out triggers and foreign keys. */
export async function loadCatalogue(client: pg.Client, made: MadeCatalogue): Promise<void> {
  await client.query("set session_replication_role = replica");
  const plays = new Float64Array(made.artists.length);
  for (const [index, owner] of made.owners.entries())
    plays[owner] = (plays[owner] as number) + (made.popularity[index] as number);
  await copy(client, "artists (id, name, name_key, popularity)", made.artists.length, (index) => {
    const name = made.artists[index] as string;
    return [FIRST_ARTIST_ID + index, name, name, Math.min(plays[index] as number, 2 ** 31 - 1)];
  });
  await copy(
    client,
    "tracks (id, artist_id, title, title_key, loose_key, popularity)",
    made.titles.length,
    (index) => {
      const title = made.titles[index] as string;
      const owner = made.owners[index] as number;
      return [
        index + 1,
        FIRST_ARTIST_ID + owner,
        title,
        title,
        `${made.artists[owner] as string}\u001f${title}`,
        made.popularity[index] as number,
      ];
    },
  );
  await client.query("set session_replication_role = origin");
  for (const table of ["artists", "tracks"])
    await client.query(`select setval(pg_get_serial_sequence($1, 'id'), (select max(id) from ${table}))`, [
      table,
    ]);
  await client.query("vacuum (analyze) artists, tracks");
}

async function copy(
  client: pg.Client,
  target: string,
  rows: number,
  line: (index: number) => readonly (string | number)[],
): Promise<void> {
  function* pieces(): Generator<string> {
    for (let from = 0; from < rows; from += PIECE_ROWS) {
      let text = "";
      for (let index = from; index < Math.min(rows, from + PIECE_ROWS); index += 1)
        text += `${line(index).join("\t")}\n`;
      yield text;
    }
  }
  await pipeline(Readable.from(pieces()), client.query(copyFrom(`copy ${target} from stdin`)));
}

/** Short ones first, which are the common ones. */
function makeWords(count: number, next: () => number): string[] {
  const pick = (list: readonly string[]): string => list[Math.floor(next() * list.length)] as string;
  const syllables = (n: number): string =>
    Array.from(
      { length: n },
      (_, index) => pick(ONSETS) + pick(VOWELS) + (index === n - 1 ? pick(CODAS) : ""),
    ).join("");
  let made = 0;
  return distinct(count, () => {
    made += 1;
    return syllables(made < count / 100 ? 1 + Math.floor(next() * 2) : 2 + Math.floor(next() * 2));
  });
}

function distinct(count: number, make: () => string): string[] {
  const found = new Set<string>();
  while (found.size < count) found.add(make());
  return [...found];
}

function shuffled(count: number, next: () => number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let index = count - 1; index > 0; index -= 1) {
    const other = Math.floor(next() * (index + 1));
    [order[index], order[other]] = [order[other] as number, order[index] as number];
  }
  return order;
}
