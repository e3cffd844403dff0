/** Strong ids of artists, albums and tracks: each belongs to one. Changed under the lock on the catalogue. */
import type { ClientBase } from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import type { ExternalIdView } from "../../db/queries/catalogue.js";
import { taken } from "./references.js";

type Client = Pick<ClientBase, "query">;

const WANTED = "unnest($2::text[], $3::text[]) with ordinality as w (provider, external_id, n)";

const lists = (ids: readonly ExternalIdView[]): [string[], string[]] => [
  ids.map(({ provider }) => provider),
  ids.map(({ id }) => id),
];

/** Path in the input of the n-th id. */
export type IdPath = (index: number) => string;

export interface Owner {
  readonly index: number;
  readonly id: number;
}

/** Who has these ids, in their order; ids that nobody has are left out. */
export async function ownersOf(
  client: Client,
  entity: CatalogueEntity,
  ids: readonly ExternalIdView[],
): Promise<Owner[]> {
  if (ids.length === 0) return [];
  const { rows } = await client.query<Owner>(
    `select (w.n - 1)::integer as index, e.entity_id as id
       from ${WANTED}
       join external_ids e on e.entity = $1 and e.provider = w.provider and e.external_id = w.external_id
      order by w.n`,
    [entity, ...lists(ids)],
  );
  return rows;
}

/** Adds what is not there. Throws `ConflictError` (`taken`) for an id that another one has. */
export async function addIds(
  client: Client,
  entity: CatalogueEntity,
  owner: number,
  ids: readonly ExternalIdView[],
  pathOf: IdPath,
): Promise<void> {
  if (ids.length === 0) return;
  await client.query(
    `insert into external_ids (entity, provider, external_id, entity_id)
     select $1::text, w.provider, w.external_id, $4::bigint from ${WANTED}
      order by w.provider collate "C", w.external_id collate "C"
     on conflict (entity, provider, external_id) do nothing`,
    [entity, ...lists(ids), owner],
  );
  const other = (await ownersOf(client, entity, ids)).find(({ id }) => id !== owner);
  if (other !== undefined) throw taken(pathOf(other.index), entity, other.id, owner);
}

/** Makes `ids` all that the owner has. Throws as `addIds`. */
export async function replaceIds(
  client: Client,
  entity: CatalogueEntity,
  owner: number,
  ids: readonly ExternalIdView[],
  pathOf: IdPath,
): Promise<void> {
  await client.query(
    `delete from external_ids e
      where e.entity = $1 and e.entity_id = $4
        and not exists (select from ${WANTED} where w.provider = e.provider and w.external_id = e.external_id)`,
    [entity, ...lists(ids), owner],
  );
  await addIds(client, entity, owner, ids, pathOf);
}
