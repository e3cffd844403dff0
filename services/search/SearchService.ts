/**
 * Searching artists, albums and tracks: by words as they are typed, with slips where these find too little, and with one
 * word left out where that finds nothing. See docs/adr/0016.
 *
 * The order of results: candidates are read most popular first, in runs of `RUN`, and each run is put in the order of its
 * scores; the first one has those whose name is exactly the query beside the most popular. A cursor names the place in a
 * run, so pages neither repeat nor lose anything while the index stands still.
 */
import { createHash } from "node:crypto";
import type pg from "pg";
import { type CatalogueItem, readByIds } from "../../db/queries/catalogue.js";
import { CATALOGUE } from "../../db/queries/cacheVersions.js";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { sqlState } from "../../db/errors.js";
import type { Reads } from "../../db/replica.js";
import { runTransaction, type TransactionForm } from "../../db/transaction.js";
import { UnavailableError, ValidationError } from "../../utils/errors.js";
import { decodeCursor, encodeCursor, isPositionNumber } from "../../utils/pagination.js";
import { Turns } from "../../utils/Turns.js";
import { Finder, type Hit, NAMESAKES, type Place, RUN } from "./Finder.js";
import { READINGS } from "./ranking.js";
import { type Query, readQuery } from "./words.js";

export interface SearchRequest {
  readonly q: string;
  readonly entities: readonly CatalogueEntity[];
  readonly limit: number;
  readonly cursor?: string;
}

export type SearchResult = {
  [E in CatalogueEntity]: {
    readonly type: E;
    /** From 0 to 1. */
    readonly score: number;
    readonly item: CatalogueItem<E>;
  };
}[CatalogueEntity];

export interface SearchPage {
  readonly data: readonly SearchResult[];
  readonly nextCursor: string | null;
}

/** Searches are the dearest reads that anybody may send, and others need connections, too. */
const QUEUE = { maxWaiting: 200, maxWaitMs: 2000 } as const;
/** For one statement. */
const TIMEOUT_MS = 500;
/** There is an index for whatever is asked, and none of it should depend on how well the planner knows a table that grows. */
const READING: TransactionForm = {
  begin: `begin read only; set local statement_timeout = ${TIMEOUT_MS}; set local enable_seqscan = off; set local jit = off`,
  end: "commit",
};
/** Well within what one statement has. */
const ITEMS_AT_ONCE = 250;
const QUERY_CANCELED = "57014";

export class SearchService {
  readonly #reads: Reads;
  readonly #turns: Turns;

  /** At most `parallel` searches hold a connection at once. */
  constructor({ reads, parallel }: { readonly reads: Reads; readonly parallel: number }) {
    this.#reads = reads;
    this.#turns = new Turns({ parallel, ...QUEUE, busy });
  }

  /**
   * One page of results. Throws `ValidationError` for a query without anything to search for and for a bad cursor,
   * `UnavailableError` when too many search at once, or when the database does not find it out in time.
   */
  async search({ q, entities, limit, cursor }: SearchRequest): Promise<SearchPage> {
    const query = readQuery(q);
    if (query === null) throw nothingToSearchFor();
    const list = listName(query, entities);
    const place = cursor === undefined ? undefined : decodeCursor(list, cursor, placeOf);
    return this.#turns.run(() =>
      this.#bounded(async (client) => {
        const finder = new Finder(client, query, entities);
        const found = await finder.page(limit, place);
        const { data, shown } = await withItems(client, found.hits);
        const { next } =
          shown === found.hits.length
            ? found
            : await finder.page(shown, place ?? { reading: found.reading, offset: 0 });
        return { data, nextCursor: next === null ? null : encodeCursor(list, partsOf(next)) };
      }),
    );
  }

  /** Nothing is written, and no statement lasts. */
  async #bounded<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    try {
      return await this.#reads.run([CATALOGUE], (pool) => runTransaction(pool, READING, work));
    } catch (error) {
      if (sqlState(error) === QUERY_CANCELED) throw tookTooLong(error);
      throw error;
    }
  }
}

const busy = (): UnavailableError => new UnavailableError("busy", "Too many searches are under way", 1);

/**
 * In the order of the hits, without those whose row is gone and the index does not know it yet. `shown`: of how many hits;
 * not of all where their rows are very long.
 */
async function withItems(
  client: pg.ClientBase,
  hits: readonly Hit[],
): Promise<{ readonly data: readonly SearchResult[]; readonly shown: number }> {
  let shown = hits.length;
  const found = async <E extends CatalogueEntity>(
    entity: E,
  ): Promise<ReadonlyMap<number, CatalogueItem<E>>> => {
    const ids = hits.filter((hit) => hit.entity === entity).map(({ id }) => id);
    const items = new Map<number, CatalogueItem<E>>();
    for (let from = 0; from < ids.length; from += ITEMS_AT_ONCE) {
      const { rows, more } = await readByIds(client, entity, ids.slice(from, from + ITEMS_AT_ONCE));
      for (const item of rows) items.set(item.id, item);
      if (!more) continue;
      const last = rows.at(-1)?.id;
      shown = Math.min(shown, hits.findIndex((hit) => hit.entity === entity && hit.id === last) + 1);
      break;
    }
    return items;
  };
  const artists = await found("artist");
  const albums = await found("album");
  const tracks = await found("track");
  const data = hits.slice(0, shown).flatMap(({ entity, id, score }): readonly SearchResult[] => {
    switch (entity) {
      case "artist":
        return resultOf(entity, score, artists.get(id));
      case "album":
        return resultOf(entity, score, albums.get(id));
      case "track":
        return resultOf(entity, score, tracks.get(id));
    }
  });
  return { data, shown };
}

const resultOf = <E extends CatalogueEntity>(type: E, score: number, item: CatalogueItem<E> | undefined) =>
  item === undefined ? [] : [{ type, score, item }];

/** A name of bounded length, for a cursor to be refused under another query. */
function listName(query: Query, entities: readonly CatalogueEntity[]): string {
  const asked = JSON.stringify([query.name, entities.toSorted()]);
  return `search-${createHash("sha256").update(asked).digest("base64url").slice(0, 16)}`;
}

const partsOf = ({ reading, offset, after }: Place): (string | number)[] => [
  READINGS.indexOf(reading),
  offset,
  ...(after === undefined ? [] : [after.popularity, after.id, after.entity]),
];

function placeOf([readingNo, offset, popularity, id, entity, ...rest]: readonly unknown[]): Place | null {
  const reading = isPositionNumber(readingNo) ? READINGS[readingNo] : undefined;
  if (reading === undefined || !isPositionNumber(offset, RUN + NAMESAKES) || rest.length > 0) return null;
  if (popularity === undefined && id === undefined && entity === undefined) return { reading, offset };
  if (!isPositionNumber(popularity, 2 ** 31 - 1) || !isPositionNumber(id) || !isEntity(entity)) return null;
  return { reading, offset, after: { popularity, id, entity } };
}

const isEntity = (part: unknown): part is CatalogueEntity =>
  part === "artist" || part === "album" || part === "track";

function nothingToSearchFor(): ValidationError {
  const message = "q has no letter, digit or sign to search for";
  return new ValidationError("The query string is not valid", [{ path: "q", code: "empty", message }]);
}

const tookTooLong = (cause: unknown): UnavailableError =>
  new UnavailableError("search_timeout", "This search took too long; another word may help", 1, { cause });
