import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";

/** Resolves when some connection to this database waits for a lock of another. */
export async function untilBlocked(pool: pg.Pool): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    const { rows } = await pool.query<{ waiting: number }>(
      `select count(*)::int as waiting from pg_stat_activity
        where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
    );
    if ((rows[0]?.waiting ?? 0) > 0) return;
    await sleep(10);
  }
  throw new Error("Nobody waits for a lock");
}
