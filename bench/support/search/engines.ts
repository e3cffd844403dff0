/** What is asked: playlog's search, and the plainest thing that PostgreSQL offers. */
import type pg from "pg";
import type { SearchService } from "../../../services/search/SearchService.js";

/** Rows of one answer. */
export const LIMIT = 20;

export interface Engine {
  readonly name: string;
  /** The words of each row that it gives. */
  ask(text: string): Promise<readonly string[]>;
  readonly ms: number[];
  /** Of queries without common words: what a design that sorts all that fits is best at. */
  readonly rareMs: number[];
  readonly found: { plain: number; slip: number };
  /** Queries that were given up: each counts with the time that took. */
  readonly failed: string[];
}

/** For `plainEngine`. */
export async function makePlain(client: pg.Client): Promise<void> {
  await client.query(`
    create table plain_search as
    select t.id, t.title, a.name as artist, t.popularity, to_tsvector('simple', t.title || ' ' || a.name) as words
      from tracks t join artists a on a.id = t.artist_id`);
  await client.query("create index plain_search_words on plain_search using gin (words)");
  await client.query("vacuum (analyze) plain_search");
  await client.query("set jit = off; set max_parallel_workers_per_gather = 0");
}

export function plainEngine(client: pg.Client): Engine {
  const ask = async (text: string): Promise<readonly string[]> => {
    const words = text.split(" ");
    const query = words
      .map((word, index) => (index === words.length - 1 ? `'${word}':*` : `'${word}'`))
      .join(" & ");
    const { rows } = await client.query<{ title: string; artist: string }>(
      `select id, title, artist, popularity from plain_search where words @@ $1::tsquery
        order by popularity desc limit ${LIMIT}`,
      [query],
    );
    return rows.map(({ title, artist }) => `${title} ${artist}`);
  };
  return { name: "plain tsvector", ask, ms: [], rareMs: [], found: { plain: 0, slip: 0 }, failed: [] };
}

export function playlogEngine(service: SearchService, types: readonly ["track"] | [] = []): Engine {
  const entities = types.length === 0 ? (["artist", "album", "track"] as const) : types;
  const ask = async (text: string): Promise<readonly string[]> => {
    const { data } = await service.search({ q: text, entities, limit: LIMIT });
    return data.map((result) => {
      switch (result.type) {
        case "artist":
          return result.item.name;
        case "album":
        case "track":
          return `${result.item.title} ${result.item.artist.name}`;
      }
    });
  };
  const name = types.length === 0 ? "playlog, all types" : "playlog, tracks";
  return { name, ask, ms: [], rareMs: [], found: { plain: 0, slip: 0 }, failed: [] };
}
