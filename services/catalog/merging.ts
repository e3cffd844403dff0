/**
 * Makes one of two artists, albums or tracks, in one transaction: nobody sees half of it, and plays are counted where
 * they are. It holds the locks on the plays of everybody whose plays it moves, then that on the catalogue. Of very many
 * plays most are moved ahead, see movingPlays.ts. See docs/adr/0015.
 */
import type { ClientBase, Pool, PoolClient } from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { announceChange, CATALOGUE } from "../../db/queries/cacheVersions.js";
import { survivorOf } from "../../db/queries/catalogue.js";
import { inTransaction, inTransactionOn } from "../../db/transaction.js";
import { ValidationError } from "../../utils/errors.js";
import { UNKNOWN_ARTIST_KEY } from "./findOrCreate.js";
import { type EntityColumn, lockListeners, refuseNewListeners } from "./listeners.js";
import { lockCatalogueAlone, shareCatalogue } from "./lock.js";
import { MERGE_TIMEOUT_MS, mergeAlbumRows, mergeArtistRows, mergeTrackRows } from "./mergingRows.js";
import { isLarge, moveAhead } from "./movingPlays.js";
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
  readonly column: EntityColumn;
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

/**
 * Gives the one that stays. A merge that was done before is done: the same answer again. Throws `NotFoundError`,
 * `ValidationError` (`into` is not there, or the same), `ConflictError` (`reserved`), and what `check` throws of the one
 * that is to go. More than `atOnce` plays are moved so many at a time.
 */
export async function merge<T>(
  pool: Pool,
  kind: Mergeable<T>,
  { id, into, atOnce }: { readonly id: number; readonly into: number; readonly atOnce: number },
  check: Check<T>,
): Promise<Found<T>> {
  if (await isLarge(pool, kind.entity, id, atOnce)) {
    return whileNoOtherMerges(pool, async (connection) => {
      const survivor = await inTransactionOn(connection, async (client) => {
        await shareCatalogue(client);
        return (await judge(client, kind, id, into, check)).survivor;
      });
      if (survivor !== null) await moveAhead(connection, kind.entity, { from: id, to: survivor, atOnce });
      // It was decided when the first play moved; what is edited since then is no reason to leave the rest.
      return inTransactionOn(connection, (client) => mergeInto(client, kind, id, into, () => undefined));
    });
  }
  return inTransaction(pool, async (client) => {
    await client.query("select pg_advisory_xact_lock_shared($1)", [ADVISORY_LOCKS.merges]);
    return mergeInto(client, kind, id, into, check);
  });
}

/** Where plays that have moved went to must not go elsewhere before the others. Others' merges lose their patience first. */
async function whileNoOtherMerges<T>(pool: Pool, work: (connection: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let done = false;
  try {
    await client.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.merges]);
    const result = await work(client);
    await client.query("select pg_advisory_unlock($1)", [ADVISORY_LOCKS.merges]);
    done = true;
    return result;
  } finally {
    client.release(!done); // closes it, and gives the lock back, when something went wrong
  }
}

async function mergeInto<T>(
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
  const listeners = await lockListeners(client, kind.column, [id]);
  await lockCatalogueAlone(client);
  const { survivor, answer } = await judge(client, kind, id, into, check);
  if (survivor === null) return answer;
  await refuseNewListeners(client, kind.column, [id], listeners);
  await kind.merge(client, id, survivor);
  await announceChange(client, CATALOGUE);
  return (await kind.read(client, survivor))!;
}

/** Which one `id` is to be merged into; null and the answer, where it was merged before. */
async function judge<T>(
  client: ClientBase,
  kind: Mergeable<T>,
  id: number,
  into: number,
  check: Check<T>,
): Promise<
  | { readonly survivor: number; readonly answer: null }
  | { readonly survivor: null; readonly answer: Found<T> }
> {
  const survivor = (await currentIds(client, kind.entity, [into], () => "into"))[0]!;
  const current = await kind.read(client, id);
  if (current === null) {
    const moved = await movedFrom(client, kind.entity, id);
    const answer = moved.id === survivor ? (await kind.read(client, survivor))! : moved;
    return { survivor: null, answer };
  }
  if (survivor === id) throw sameError(await survivorOf(client, kind.entity, into));
  await refuseReserved(client, kind, [id, survivor]);
  check(current);
  return { survivor, answer: null };
}

function sameError(mergedInto: number | null): ValidationError {
  const message =
    mergedInto === null
      ? "into is the one to be merged itself"
      : "into was merged into the one that is to be merged now";
  return new ValidationError("The request body is not valid", [{ path: "into", code: "same", message }]);
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
