/** Whose plays a merge moves: they are locked before the catalogue is. */
import type { ClientBase } from "pg";
import { userPlaysLock } from "../../db/advisoryLocks.js";
import { MERGE_TIMEOUT_MS } from "./mergingRows.js";

/** Column of listening_history that names what is merged. */
export type EntityColumn = "artist_id" | "album_id" | "track_id";

/** Somebody whose plays are not locked has begun to play it; run the transaction again. */
class NewListenerError extends Error {
  readonly code = "40001"; // handled like any other lost race
}

/** In the order of their ids, as everybody does who locks several. Gives the ids. */
export async function lockListeners(
  client: ClientBase,
  column: EntityColumn,
  ids: readonly number[],
): Promise<string[]> {
  const statement = {
    text: `select user_id, pg_advisory_xact_lock(${userPlaysLock("user_id")})
             from (select distinct user_id from listening_history where ${column} = any($1::bigint[])
                    order by user_id) u`,
    values: [ids],
    query_timeout: MERGE_TIMEOUT_MS,
  };
  const { rows } = await client.query<{ user_id: string }>(statement);
  return rows.map(({ user_id: userId }) => userId);
}

/** To be asked under the lock on the catalogue. Throws what makes the transaction begin again. */
export async function refuseNewListeners(
  client: ClientBase,
  column: EntityColumn,
  ids: readonly number[],
  listeners: readonly string[],
): Promise<void> {
  const { rows } = await client.query<{ more: boolean }>(
    `select exists (
       select from listening_history where ${column} = any($1::bigint[]) and user_id <> all ($2::uuid[])
     ) as more`,
    [ids, listeners],
  );
  if (rows[0]!.more) throw new NewListenerError("Somebody else plays it now");
}
