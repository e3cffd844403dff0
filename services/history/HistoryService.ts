/** Reading a listening history: the caller's own, or another one that its owner has made public. */
import type pg from "pg";
import { accountOf, CATALOGUE, historyOf } from "../../db/queries/cacheVersions.js";
import type { ListenFilters } from "../../db/queries/listenFilters.js";
import {
  isHistoryPublic,
  type FoundListen,
  listenById,
  listenPage,
  type ListenPosition,
  listenTotal,
  TOTAL_MAX,
} from "../../db/queries/listeningHistory.js";
import type { Reads } from "../../db/replica.js";
import { NotFoundError, ValidationError } from "../../utils/errors.js";
import { decodeCursor, encodeCursor, isPositionNumber, isPositionTime } from "../../utils/pagination.js";
import { nameKey } from "../catalog/keys.js";
import type { PlaySource } from "../import/types.js";
import { familiesOf, type SourceGroup } from "./sources.js";

export interface HistoryQuery {
  /** Whose history; the reader's own when absent. */
  readonly userId?: string;
  /** `from <= playedAt < until` */
  readonly from?: Date;
  readonly until?: Date;
  readonly artistId?: number;
  readonly trackId?: number;
  readonly albumId?: number;
  /** Names in any spelling that has the same key. */
  readonly artist?: string;
  readonly track?: string;
  readonly source?: PlaySource | SourceGroup;
  readonly importId?: string;
  readonly counted?: boolean;
  readonly includeDuplicates: boolean;
  readonly includeTotal: boolean;
  readonly order: "desc" | "asc";
  readonly limit: number;
  /** Either of the two: `nextCursor` of the page before, or a page number from 1. */
  readonly cursor?: string;
  readonly page?: number;
}

export interface HistoryPage {
  /** The plays as JSON objects, joined by commas; the database writes them, nobody parses them on the way. */
  readonly items: string;
  readonly nextCursor: string | null;
  /** How many plays fit the filters, at most `TOTAL_MAX`; only when it was asked for. */
  readonly total?: number;
  /** False when there are more than `total`. */
  readonly totalIsExact?: boolean;
}

export class HistoryService {
  readonly #pool: pg.Pool;
  readonly #reads: Reads;

  constructor({ pool, reads }: { readonly pool: pg.Pool; readonly reads: Reads }) {
    this.#pool = pool;
    this.#reads = reads;
  }

  /**
   * Throws `NotFoundError` when the history is another user's and not public, exactly as when there is no such
   * user; `ValidationError` for a bad cursor, a cursor beside a page, a numbered page of too many very long plays, and a
   * range that ends before it begins.
   */
  async list(readerId: string, query: HistoryQuery): Promise<HistoryPage> {
    const ownerId = query.userId ?? readerId;
    checkRange(query);
    const after = positionOf(query);
    if (ownerId !== readerId && !(await isHistoryPublic(this.#pool, ownerId))) throw new NotFoundError();

    // Whoever may read a history is not told by which import a play came: none of its imports is known to them.
    if (ownerId !== readerId && query.importId !== undefined) return nothing(query);
    const request = {
      filters: filtersOf(ownerId, query),
      order: query.order,
      limit: query.limit,
      ...(after === undefined ? {} : { after }),
      ...(query.page === undefined ? {} : { offset: (query.page - 1) * query.limit }),
      hidePrivate: ownerId !== readerId,
    };
    return this.#reads.run([historyOf(ownerId), accountOf(ownerId), CATALOGUE], async (pool) => {
      const { items, next, cut } = await listenPage(pool, request);
      if (cut && query.page !== undefined) throw tooLongForPage(); // the next number would pass over the rest
      return {
        items,
        nextCursor: next === null ? null : encodeCursor(listName(query.order), [next.playedAt, next.id]),
        ...(query.includeTotal ? totalOf(await listenTotal(pool, request)) : {}),
      };
    });
  }

  /** One play. Throws `NotFoundError` for a play that is not there or not the reader's to see. */
  async find(readerId: string, id: number): Promise<FoundListen> {
    const found = await listenById(this.#pool, id, readerId);
    if (found === null) throw new NotFoundError();
    return found;
  }
}

const totalOf = (found: number) => ({
  total: Math.min(found, TOTAL_MAX),
  totalIsExact: found <= TOTAL_MAX,
});

const nothing = ({ includeTotal }: HistoryQuery): HistoryPage => ({
  items: "",
  nextCursor: null,
  ...(includeTotal ? totalOf(0) : {}),
});

const listName = (order: HistoryQuery["order"]): string => `listens-${order}`;

function filtersOf(userId: string, query: HistoryQuery): ListenFilters {
  const { from, until, artistId, trackId, albumId, importId, counted, includeDuplicates } = query;
  return {
    userId,
    includeDuplicates,
    ...(from === undefined ? {} : { from }),
    ...(until === undefined ? {} : { until }),
    ...(artistId === undefined ? {} : { artistId }),
    ...(trackId === undefined ? {} : { trackId }),
    ...(albumId === undefined ? {} : { albumId }),
    ...(importId === undefined ? {} : { importId }),
    ...(counted === undefined ? {} : { counted }),
    ...(query.artist === undefined ? {} : { artistKey: nameKey(query.artist) }),
    ...(query.track === undefined ? {} : { titleKey: nameKey(query.track) }),
    ...(query.source === undefined ? {} : { sources: familiesOf(query.source) }),
  };
}

function checkRange({ from, until }: HistoryQuery): void {
  if (from === undefined || until === undefined || from <= until) return;
  const message = "from must not be later than until";
  throw new ValidationError(message, [{ path: "from", code: "bad_range", message }]);
}

function tooLongForPage(): ValidationError {
  const message = "limit is more than a numbered page has room for: these plays are very long";
  return new ValidationError(message, [{ path: "limit", code: "too_large", message }]);
}

function positionOf({ cursor, page, order }: HistoryQuery): ListenPosition | undefined {
  if (cursor === undefined) return undefined;
  if (page !== undefined) {
    const message = "cursor and page cannot be used together";
    throw new ValidationError(message, [{ path: "page", code: "conflicting", message }]);
  }
  return decodeCursor(listName(order), cursor, ([playedAt, id]) =>
    isPositionTime(playedAt) && isPositionNumber(id) ? { playedAt, id } : null,
  );
}
