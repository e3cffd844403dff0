/** What becomes of a connection whose provider lets playlog in no longer. */
import type pg from "pg";

/** So often in a row, and over so long, must a renewal be refused: a provider that is confused for an hour disconnects nobody. */
export const REFUSALS_MAX = 3;
export const REFUSALS_HOURS = 24;

/**
 * Only the user can help from here on. What opened the account is deleted, for it opens nothing any more; the account, the
 * schedule and the place in its pages stay, and connecting again goes on from there. Syncs do not run until then.
 */
export async function markNeedsReauth(client: pg.Pool | pg.ClientBase, connectionId: string): Promise<void> {
  await client.query(
    `update connections
        set status = 'needs_reauth', access_token = null, refresh_token = null, token_key_id = null,
            token_expires_at = null, refusals = 0, refused_since = null, version = version + 1, updated_at = now()
      where id = $1 and status <> 'needs_reauth'`,
    [connectionId],
  );
}

/** Notes that a renewal was refused; true when that was once too often, and the connection now needs its user. */
export async function noteRefusal(client: pg.ClientBase, connectionId: string): Promise<boolean> {
  const { rows } = await client.query<{ enough: boolean }>(
    `update connections
        set refusals = least(refusals + 1, 30000), refused_since = coalesce(refused_since, now()), updated_at = now()
      where id = $1
     returning refusals >= $2 and refused_since <= now() - make_interval(hours => $3) as enough`,
    [connectionId, REFUSALS_MAX, REFUSALS_HOURS],
  );
  if (rows[0]?.enough !== true) return false;
  await markNeedsReauth(client, connectionId);
  return true;
}
