import type { TestApp } from "./app.js";

/** Schedules outlive the app on the run's Temporal server, and would go on firing there. */
export async function forgetSchedules({ deps }: TestApp): Promise<void> {
  const { rows } = await deps.database.pool.query<{ id: string }>(
    "select id from connections where scheduled is not null",
  );
  await Promise.all(rows.map(({ id }) => deps.queue.removeSchedule(id)));
}
