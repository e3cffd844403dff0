/** Lists of the catalogue, page by page. */
import type pg from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import {
  type CatalogueListRequest,
  type Listed,
  type ListedPage,
  type ListOrder,
  type NamePosition,
  positionOf,
  survivorOf,
} from "../../db/queries/catalogue.js";
import { decodeCursor, encodeCursor, isPositionNumber, MAX_CURSOR_LENGTH } from "../../utils/pagination.js";
import { nameKey } from "./keys.js";

export interface CatalogueQuery {
  readonly sort: "popular" | "name";
  /** Beginning of the name, in any spelling that has the same key. */
  readonly q?: string;
  /** For albums and tracks. */
  readonly artistId?: number;
  readonly limit: number;
  /** `nextCursor` of the page before. */
  readonly cursor?: string;
}

export interface CataloguePage<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

type Row = { readonly id: number; readonly popularity: number };

/** Throws `ValidationError` for a bad cursor. An artist that was merged away stands for the one that it is now. */
export async function listCatalogue<T extends Row>(
  pool: pg.Pool,
  entity: CatalogueEntity,
  query: CatalogueQuery,
  read: (pool: pg.Pool, request: CatalogueListRequest) => Promise<ListedPage<T>>,
): Promise<CataloguePage<T>> {
  const { sort, q, artistId, limit, cursor } = query;
  const list = `${entity}s-${sort}`;
  const order = await orderOf(pool, entity, list, sort, cursor);
  const { rows, more } = await read(pool, {
    order,
    limit,
    ...(q === undefined ? {} : { prefix: nameKey(q) }),
    ...(artistId === undefined ? {} : { artistId: (await survivorOf(pool, "artist", artistId)) ?? artistId }),
  });
  const last = more ? rows.at(-1) : undefined;
  return {
    items: rows,
    nextCursor: last === undefined ? null : cursorOf(list, sort, last),
  };
}

function cursorOf(list: string, sort: CatalogueQuery["sort"], row: Listed<Row>): string {
  if (sort === "popular") return encodeCursor(list, [row.popularity, row.id]);
  const { key, artistId, albumKey } = row.sortKey;
  const cursor = encodeCursor(list, [key, artistId, albumKey]);
  return cursor.length <= MAX_CURSOR_LENGTH ? cursor : encodeCursor(list, [row.id]);
}

async function orderOf(
  pool: pg.Pool,
  entity: CatalogueEntity,
  list: string,
  sort: CatalogueQuery["sort"],
  cursor: string | undefined,
): Promise<ListOrder> {
  if (cursor === undefined) return { by: sort };
  if (sort === "popular") {
    return { by: "popular", after: decodeCursor(list, cursor, readPopular) };
  }
  const position = decodeCursor(list, cursor, readName);
  if (typeof position !== "number") return { by: "name", after: position };
  const after = await positionOf(pool, entity, position);
  // Refused like a cursor that this list has not given, should the row be gone.
  return { by: "name", after: after ?? decodeCursor<NamePosition>(list, cursor, () => null) };
}

const MAX_POPULARITY = 2 ** 31 - 1;
const KEY_MAX_BYTES = 1000;

const readPopular = ([popularity, id]: readonly unknown[]) =>
  isPositionNumber(popularity, MAX_POPULARITY) && isPositionNumber(id) ? { popularity, id } : null;

const isKey = (part: unknown): part is string =>
  typeof part === "string" && !part.includes("\0") && Buffer.byteLength(part) <= KEY_MAX_BYTES;

/** The id of a row whose key is too long for a cursor, or the position itself. */
const readName = ([key, artistId, albumKey]: readonly unknown[]): number | NamePosition | null => {
  if (isPositionNumber(key)) return key;
  return isKey(key) && isPositionNumber(artistId) && isKey(albumKey) ? { key, artistId, albumKey } : null;
};
