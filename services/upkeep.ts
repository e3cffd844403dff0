/** Work that every worker process does now and then beside its imports, and that only one process does at a time. */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Logger } from "../utils/logger.js";

export interface UpkeepTask {
  /** Completes "... failed" in the log. */
  readonly name: string;
  /** Milliseconds from the end of one pass to the next. */
  readonly everyMs: number;
  /** One pass, as often repeated as it likes: it may have been done by another process, or half done by one that died. */
  run(): Promise<unknown>;
}

/** Once now, then again and again until `signal` aborts. A pass that fails is logged, and the next one tried. */
export async function repeat(task: UpkeepTask, signal: AbortSignal, log: Logger): Promise<void> {
  while (!signal.aborted) {
    try {
      await task.run();
    } catch (error) {
      log.warn(`${task.name} failed`, { error });
    }
    await sleep(task.everyMs, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * Runs `work` while this process holds the advisory lock `lock` (see db/advisoryLocks.ts); null when another one has
 * it. Costs one connection of the pool for as long as it takes.
 */
export async function onlyOnce<T>(pool: pg.Pool, lock: number, work: () => Promise<T>): Promise<T | null> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    const taken = await client.query<{ held: boolean }>("select pg_try_advisory_lock($1) as held", [lock]);
    if (taken.rows[0]?.held !== true) return null;
    try {
      return await work();
    } finally {
      await client.query("select pg_advisory_unlock($1)", [lock]);
    }
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    // A connection that failed is closed, and the lock with it.
    client.release(failure);
  }
}
