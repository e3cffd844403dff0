import type { Pool } from "pg";
import { AppError } from "../../../utils/errors.js";
import type { Logger } from "../../../utils/logger.js";
import { cancelJob } from "../../import/control.js";
import { QueueRejectedError, QueueUnavailableError } from "../../import/ImportQueue.js";
import type { ImportQueue } from "../../import/ImportQueue.js";

export interface OrphanedSyncsDependencies {
  readonly pool: Pool;
  readonly queue: Pick<ImportQueue, "requestCancel">;
  readonly log: Logger;
  readonly blobKeepDays: number;
}

/** In one pass; the rest waits for the next. */
const AT_ONCE = 200;

/**
 * Cancels syncs whose connection has been removed; one of them may wait for a provider for a day. One that has its file needs
 * no connection any more, and goes on. Repeatable; how many were told to stop.
 */
export async function cancelOrphanedSyncs(deps: OrphanedSyncsDependencies): Promise<number> {
  const found = await deps.pool.query<{ id: string; user_id: string }>(
    `select id, user_id from import_jobs
      where kind = 'sync' and connection_id is null and sha256 is null and status in ('queued', 'running', 'paused')
      limit $1`,
    [AT_ONCE],
  );
  let cancelled = 0;
  for (const { id: importId, user_id: userId } of found.rows) {
    try {
      const { effect, attempt } = await cancelJob(deps.pool, userId, importId, deps.blobKeepDays);
      if (effect !== "already") cancelled += 1;
      await deps.queue.requestCancel({ importId, attempt });
    } catch (error) {
      if (error instanceof AppError) continue; // closed, or gone, meanwhile
      // The row says it; whoever looks after cancels tells the queue again.
      if (!(error instanceof QueueUnavailableError || error instanceof QueueRejectedError)) throw error;
      deps.log.warn("the queue could not be told of a cancel", { importId, error });
    }
  }
  return cancelled;
}
