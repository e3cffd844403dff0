/** Ids that callers name, errors that name others, and where what was merged away has gone. */
import type { Pool, PoolClient } from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { survivorOf } from "../../db/queries/catalogue.js";
import { ConflictError, type ErrorDetail, NotFoundError, ValidationError } from "../../utils/errors.js";

type Client = Pick<Pool | PoolClient, "query">;

/** In place of what was asked for: it was merged into another one, which has this id. */
export class Moved {
  constructor(readonly id: number) {}
}

export type Found<T> = T | Moved;

/** For an id under which there is nothing (any more). Throws `NotFoundError` when there never was. */
export async function movedFrom(client: Client, entity: CatalogueEntity, id: number): Promise<Moved> {
  const survivor = await survivorOf(client, entity, id);
  if (survivor === null) throw new NotFoundError();
  return new Moved(survivor);
}

const TABLES = { artist: "artists", album: "albums", track: "tracks" } as const;

/**
 * The ids that these stand for: themselves, or what they were merged into. Throws `ValidationError` naming, by
 * `pathOf` and the place in the list, each under which there is nothing.
 */
export async function currentIds(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly number[],
  pathOf: (index: number) => string,
): Promise<number[]> {
  if (ids.length === 0) return [];
  const { rows } = await client.query<{ id: number | null }>(
    `select e.id
       from unnest($1::bigint[]) with ordinality as w (id, n)
       left join catalogue_merges m on m.entity = $2 and m.old_id = w.id
       left join ${TABLES[entity]} e on e.id = coalesce(m.into_id, w.id)
      order by w.n`,
    [ids, entity],
  );
  const problems: ErrorDetail[] = [];
  const found = rows.flatMap(({ id }, index) => {
    if (id !== null) return [id];
    const path = pathOf(index);
    problems.push({ path, code: "not_found", message: `${path} names no ${entity}` });
    return [];
  });
  if (problems.length > 0) throw new ValidationError("The request body is not valid", problems);
  return found;
}

/** 409 for a name or an id that another one has already. */
export function taken(
  path: string,
  entity: CatalogueEntity,
  other: number,
  own: number | null,
): ConflictError {
  const hint =
    own === null
      ? `Use ${entity} ${other}, or leave this out`
      : `If the two are the same, POST /api/v1/${TABLES[entity]}/${own}/merge with {"into": ${other}} makes them one`;
  const message = `${path} belongs to ${entity} ${other}. ${hint}`;
  return new ConflictError("taken", message, [{ path, code: "taken", message }]);
}

/** 409 for what the artist `[unknown]` holds together. */
export const reserved = (what: string): ConflictError =>
  new ConflictError(
    "reserved",
    `${what} stands for plays whose source names no artist, and is not to be changed so`,
  );
