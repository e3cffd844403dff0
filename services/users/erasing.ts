/** The beginning of the end of an account: it is switched off, and work is started that deletes all that is left of it. */
import type { Pool } from "pg";
import type { Logger } from "../../utils/logger.js";
import type { EnqueueOutcome, ImportQueue } from "../import/ImportQueue.js";
import { inTransaction } from "../../db/transaction.js";

export interface ErasingDependencies {
  readonly pool: Pool;
  readonly queue: ImportQueue;
  readonly log: Logger;
}

/** Accounts looked at in one pass; the rest waits for the next. */
const AT_ONCE = 200;

/**
 * No session, token or sync of the account works any more once this resolves; asked for twice it is the same. The row says
 * what is to be done: a start that fails is made up for by `startErases`.
 */
export async function requestErase(deps: ErasingDependencies, userId: string): Promise<void> {
  await inTransaction(deps.pool, async (client) => {
    await client.query(
      `update users
          set disabled_at = coalesce(disabled_at, now()), erase_requested_at = coalesce(erase_requested_at, now()),
              version = version + 1, updated_at = now()
        where id = $1`,
      [userId],
    );
    await client.query(
      `update sessions set revoked_at = now(), revoked_reason = 'account_erased'
        where user_id = $1 and revoked_at is null`,
      [userId],
    );
    await client.query("update api_tokens set revoked_at = now() where user_id = $1 and revoked_at is null", [
      userId,
    ]);
    await client.query("update connections set paused = true where user_id = $1", [userId]);
  });
  deps.log.info("account switched off, to be erased", { userId });
  await enqueueErase(deps, userId);
}

/** Starts what was asked for and does not run: its start failed, somebody stopped it, the queue has lost it. */
export async function startErases(deps: ErasingDependencies): Promise<number> {
  const due = await deps.pool.query<{ id: string }>(
    "select id from users where erase_requested_at is not null order by random() limit $1",
    [AT_ONCE],
  );
  let started = 0;
  for (const { id } of due.rows) {
    if ((await deps.queue.inspect({ kind: "erase", userId: id })) === "open") continue;
    const outcome = await enqueueErase(deps, id);
    if (outcome === null) return started;
    if (outcome === "started") started += 1;
  }
  return started;
}

/** Never throws; null when the queue did not take it. */
async function enqueueErase(
  { queue, log }: ErasingDependencies,
  userId: string,
): Promise<EnqueueOutcome | null> {
  try {
    return await queue.enqueue({ kind: "erase", userId });
  } catch (error) {
    log.warn("work could not be started now", { work: "erase", userId, error });
    return null;
  }
}
