import type { Pool } from "pg";

/** So long what a schedule did can be looked up, also when nothing came of it. */
const KEEP_HOURS = 24;
const ROWS_PER_STATEMENT = 1000;

/**
 * Deletes syncs that ended a day ago and found nothing new: a schedule leaves one each time that it is due, for years. The
 * newest of a connection stays, for it says when its provider was last asked. So does whatever read something, failed, was
 * stopped or was a try. Gives how many went; several processes may do it at once.
 */
export async function pruneEmptySyncs(pool: Pool): Promise<number> {
  let pruned = 0;
  for (;;) {
    const { rowCount } = await pool.query(
      `delete from import_jobs where id = any (array(
         select j.id from import_jobs j
          where j.kind = 'sync' and j.status = 'completed' and not j.dry_run and j.sha256 is null
            and (j.totals #>> '{counts,read}')::bigint = 0
            and j.finished_at < now() - make_interval(hours => $1)
            and (j.connection_id is null or exists (
              select from import_jobs newer
               where newer.connection_id = j.connection_id and newer.created_at > j.created_at))
          limit $2 for update of j skip locked))`,
      [KEEP_HOURS, ROWS_PER_STATEMENT],
    );
    pruned += rowCount ?? 0;
    if ((rowCount ?? 0) < ROWS_PER_STATEMENT) return pruned;
  }
}
