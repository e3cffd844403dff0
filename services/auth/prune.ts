/** Deletes what has ended long ago: sessions, personal API tokens, invites. */
import type pg from "pg";

/**
 * How long what has ended is kept for whoever looks into what happened. Longer than processes need to hear of a
 * revoked session, which is nine hours.
 */
export const KEEP_ENDED_DAYS = 7;
const ROWS_PER_STATEMENT = 1000;

const SINCE = "now() - make_interval(days => $1)";
/** By table, SQL of what has ended so long ago. */
const ENDED = {
  sessions: `expires_at < ${SINCE} or revoked_at < ${SINCE}`,
  api_tokens: `expires_at < ${SINCE} or revoked_at < ${SINCE}`,
  invites: `expires_at < ${SINCE} or used_at < ${SINCE}`,
} as const;

export type Pruned = Readonly<Record<keyof typeof ENDED, number>>;

/** Gives how many rows went, by table. Several processes may do it at once. */
export async function pruneEnded(pool: pg.Pool): Promise<Pruned> {
  return {
    sessions: await prune(pool, "sessions"),
    api_tokens: await prune(pool, "api_tokens"),
    invites: await prune(pool, "invites"),
  };
}

async function prune(pool: pg.Pool, table: keyof typeof ENDED): Promise<number> {
  let pruned = 0;
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from ${table} where id = any (array(
         select id from ${table} where ${ENDED[table]} limit $2 for update skip locked))`,
      [KEEP_ENDED_DAYS, ROWS_PER_STATEMENT],
    );
    pruned += rowCount ?? 0;
    if ((rowCount ?? 0) < ROWS_PER_STATEMENT) return pruned;
  }
}
