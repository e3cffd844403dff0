/**
 * Makes one of two artists, albums or tracks, in one transaction: nobody sees half of it, and plays are counted where
 * they are. It holds the locks on the plays of everybody whose plays it moves, then that on the catalogue. See
 * docs/adr/0015.
 */
import type { ClientBase } from "pg";
import { userPlaysLock } from "../../db/advisoryLocks.js";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { announceChange, CATALOGUE } from "../../db/queries/cacheVersions.js";
import { survivorOf } from "../../db/queries/catalogue.js";
import { ValidationError } from "../../utils/errors.js";
import { UNKNOWN_ARTIST_KEY } from "./findOrCreate.js";
import { lockCatalogueAlone } from "./lock.js";
import { MERGE_TIMEOUT_MS, mergeAlbumRows, mergeArtistRows, mergeTrackRows } from "./mergingRows.js";
import { currentIds, type Found, movedFrom, reserved } from "./references.js";
import type { Check } from "./editing.js";

/** For batches under way; longer ones end by their own limits. */
const LOCK_TIMEOUT_MS = 15_000;

/** What differs between the three. */
export interface Mergeable<T> {
  readonly entity: CatalogueEntity;
  read(client: ClientBase, id: number): Promise<T | null>;
  /** Key of the artist that this is, or is of. */
  readonly artistKey: string;
  /** Column of listening_history that names it. */
  readonly column: "artist_id" | "album_id" | "track_id";
  merge(client: ClientBase, loser: number, survivor: number): Promise<void>;
}

export const ARTIST_MERGE = {
  entity: "artist",
  artistKey: "select name_key from artists where id = $1",
  column: "artist_id",
  merge: mergeArtistRows,
} as const;

export const ALBUM_MERGE = {
  entity: "album",
  artistKey: "select a.name_key from albums b join artists a on a.id = b.artist_id where b.id = $1",
  column: "album_id",
  merge: (client: ClientBase, loser: number, survivor: number) =>
    mergeAlbumRows(client, { losers: [loser], survivors: [survivor] }),
} as const;

export const TRACK_MERGE = {
  entity: "track",
  artistKey: "select a.name_key from tracks t join artists a on a.id = t.artist_id where t.id = $1",
  column: "track_id",
  merge: (client: ClientBase, loser: number, survivor: number) =>
    mergeTrackRows(client, { losers: [loser], survivors: [survivor] }),
} as const;

/** Somebody whose plays are not locked has begun to play it; run the transaction again. */
class NewListenerError extends Error {
  readonly code = "40001"; // handled like any other lost race
}

/**
 * Gives the one that stays. A merge that was done before is done: the same answer again. Throws `NotFoundError`,
 * `ValidationError` (`into` is not there, or the same), `ConflictError` (`reserved`), and what `check` throws of the one
 * that is to go.
 */
export async function mergeInto<T>(
  client: ClientBase,
  kind: Mergeable<T>,
  id: number,
  into: number,
  check: Check<T>,
): Promise<Found<T>> {
  await client.query(
    "select set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true)",
    [String(LOCK_TIMEOUT_MS), String(MERGE_TIMEOUT_MS)],
  );
  const listeners = await lockListeners(client, kind, id);
  await lockCatalogueAlone(client);
  const survivor = (await currentIds(client, kind.entity, [into], () => "into"))[0]!;
  const current = await kind.read(client, id);
  if (current === null) {
    const moved = await movedFrom(client, kind.entity, id);
    return moved.id === survivor ? (await kind.read(client, survivor))! : moved;
  }
  if (survivor === id) throw sameError(await survivorOf(client, kind.entity, into));
  await refuseReserved(client, kind, [id, survivor]);
  check(current);
  await refuseNewListeners(client, kind, id, listeners);
  await kind.merge(client, id, survivor);
  await announceChange(client, CATALOGUE);
  return (await kind.read(client, survivor))!;
}

function sameError(mergedInto: number | null): ValidationError {
  const message =
    mergedInto === null
      ? "into is the one to be merged itself"
      : "into was merged into the one that is to be merged now";
  return new ValidationError("The request body is not valid", [{ path: "into", code: "same", message }]);
}

/** In the order of their ids, as everybody does who locks several. */
async function lockListeners(
  client: ClientBase,
  { column }: Pick<Mergeable<unknown>, "column">,
  id: number,
): Promise<string[]> {
  const statement = {
    text: `select user_id, pg_advisory_xact_lock(${userPlaysLock("user_id")})
             from (select distinct user_id from listening_history where ${column} = $1 order by user_id) u`,
    values: [id],
    query_timeout: MERGE_TIMEOUT_MS,
  };
  const { rows } = await client.query<{ user_id: string }>(statement);
  return rows.map(({ user_id: userId }) => userId);
}

async function refuseNewListeners(
  client: ClientBase,
  { column }: Pick<Mergeable<unknown>, "column">,
  id: number,
  listeners: readonly string[],
): Promise<void> {
  const { rows } = await client.query<{ more: boolean }>(
    `select exists (
       select from listening_history where ${column} = $1 and user_id <> all ($2::uuid[])
     ) as more`,
    [id, listeners],
  );
  if (rows[0]!.more) throw new NewListenerError("Somebody else plays it now");
}

/** Tracks and albums under `[unknown]` are what many people's files call so, and need not be one and the same. */
async function refuseReserved(
  client: ClientBase,
  { entity, artistKey }: Pick<Mergeable<unknown>, "entity" | "artistKey">,
  ids: readonly number[],
): Promise<void> {
  for (const id of ids) {
    const { rows } = await client.query<{ name_key: string }>(artistKey, [id]);
    if (rows[0]?.name_key === UNKNOWN_ARTIST_KEY) throw reserved(`${entity} ${id}`);
  }
}
