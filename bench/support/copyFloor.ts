/** The floor of an import: a server-side COPY of exactly its rows into exactly their table. */
import { rm } from "node:fs/promises";
import path from "node:path";
import type pg from "pg";

/** Takes the history out, empties it and the imports, runs `copyIn` (through `time`), and empties them again. */
export async function copyAgain<T>(
  admin: pg.Client,
  time: (copyIn: () => Promise<unknown>) => Promise<T>,
): Promise<T> {
  const file = await copyOut(admin);
  // Told of an empty table, PostgreSQL would check each link between two plays by reading a whole index.
  await admin.query("alter table listening_history set (autovacuum_enabled = off)");
  await emptyHistory(admin);
  const result = await time(() => admin.query(`copy listening_history from ${admin.escapeLiteral(file)}`));
  await rm(file, { force: true });
  await admin.query("alter table listening_history reset (autovacuum_enabled)");
  await emptyHistory(admin);
  return result;
}

const emptyHistory = (admin: pg.Client): Promise<unknown> =>
  admin.query("truncate listening_history, import_jobs cascade");

/** The history in order of time, in a file that the server reads itself. */
async function copyOut(admin: pg.Client): Promise<string> {
  const { rows } = await admin.query<{ data_directory: string }>("show data_directory");
  const file = path.join(rows[0]!.data_directory, `playlog-bench-${process.pid}.copy`);
  await admin.query(
    `copy (select * from listening_history order by played_at) to ${admin.escapeLiteral(file)}`,
  );
  return file;
}
