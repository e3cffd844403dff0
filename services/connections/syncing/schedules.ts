/**
 * Keeps the queue's schedules as the rows of `connections` ask for. Whoever changes a row tells the queue at once; what the
 * queue did not hear, or has lost, a pass of the worker makes up for.
 */
import type { Pool } from "pg";
import { ADVISORY_LOCKS } from "../../../db/advisoryLocks.js";
import type { ConnectionProvider } from "../../../db/models/enums.js";
import type { Logger } from "../../../utils/logger.js";
import { QueueRejectedError, QueueUnavailableError } from "../../import/ImportQueue.js";
import type { ImportQueue, SyncSchedule } from "../../import/ImportQueue.js";
import { onlyOnce } from "../../upkeep.js";

export interface ScheduleDependencies {
  readonly pool: Pool;
  readonly queue: Pick<ImportQueue, "upsertSchedule" | "removeSchedule" | "listSchedules">;
  readonly log: Logger;
}

export interface SchedulesReconciled {
  /** False when another process was at it. */
  readonly acted: boolean;
  readonly told: number;
  readonly removed: number;
}

interface Wanted extends SyncSchedule {
  /** As it is stored in `connections.scheduled` once the queue was told. */
  readonly text: string;
}

/** Rows of each kind in one pass; the rest waits for the next. */
const AT_ONCE = 200;

const WANTED = `
  select * from (
    select c.id as "connectionId", c.user_id as "userId", c.provider, c.every_minutes as "everyMinutes",
           c.paused or c.status <> 'active' as paused, c.scheduled,
           c.every_minutes || case when c.paused or c.status <> 'active' then ' paused' else '' end as text
      from connections c
  ) wanted`;

/**
 * Tells the queue of one connection's schedule, or removes it when the connection is gone. To be called once its change is
 * committed. Never throws: false when the queue was not reached.
 */
export async function tellSchedule(deps: ScheduleDependencies, connectionId: string): Promise<boolean> {
  try {
    const found = await deps.pool.query<Wanted>(`${WANTED} where "connectionId" = $1`, [connectionId]);
    const wanted = found.rows[0];
    if (wanted === undefined) await deps.queue.removeSchedule(connectionId);
    else await tell(deps, wanted);
    return true;
  } catch (error) {
    deps.log.warn("the queue could not be told of a schedule", { connectionId, error });
    return false;
  }
}

/** One pass. Throws what the database throws; a queue that does not answer ends it. */
export async function reconcileSchedules(deps: ScheduleDependencies): Promise<SchedulesReconciled> {
  const done = await onlyOnce(deps.pool, ADVISORY_LOCKS.schedules, async () => {
    const counts = { told: 0, removed: 0 };
    try {
      const listed = await deps.queue.listSchedules();
      for (const wanted of await untold(deps.pool, listed)) {
        await tell(deps, wanted);
        counts.told += 1;
      }
      for (const connectionId of await orphans(deps.pool, listed)) {
        await deps.queue.removeSchedule(connectionId);
        counts.removed += 1;
      }
    } catch (error) {
      if (!(error instanceof QueueUnavailableError || error instanceof QueueRejectedError)) throw error;
      deps.log.warn("schedules are not compared: the queue does not answer, or refuses", { error });
    }
    return { acted: true, ...counts };
  });
  return done ?? { acted: false, told: 0, removed: 0 };
}

/** The row may have changed while the queue was told: then it is told again by the next pass, for the texts differ. */
async function tell({ pool, queue }: ScheduleDependencies, wanted: Wanted): Promise<void> {
  const { connectionId, userId, provider, everyMinutes, paused, text } = wanted;
  await queue.upsertSchedule({ connectionId, userId, provider, everyMinutes, paused });
  await pool.query("update connections set scheduled = $2 where id = $1", [connectionId, text]);
}

/** Schedules that the queue was not told of as they are, or does not have. */
async function untold(pool: Pool, listed: readonly string[]): Promise<Wanted[]> {
  const found = await pool.query<Wanted & { readonly provider: ConnectionProvider }>(
    `${WANTED}
      where scheduled is distinct from text or "connectionId" <> all($1::uuid[])
      order by (scheduled is distinct from text) desc, random() limit $2`,
    [listed, AT_ONCE],
  );
  return found.rows;
}

/** Schedules of connections that are gone. */
async function orphans(pool: Pool, listed: readonly string[]): Promise<string[]> {
  const found = await pool.query<{ id: string }>(
    `select listed.id from unnest($1::uuid[]) as listed (id)
      where not exists (select from connections c where c.id = listed.id) limit $2`,
    [listed, AT_ONCE],
  );
  return found.rows.map(({ id }) => id);
}
