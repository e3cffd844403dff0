/** The one part of a sync's job, which holds the records of all its pages in the order that they came. */
import type { Pool, PoolClient } from "pg";
import { assertOpen, lockJob } from "../../import/jobs.js";
import type { JobRow } from "../../import/jobs.js";
import { inTransaction } from "../../../db/transaction.js";
import type { LiveFormat } from "../providers/types.js";

export const PART_NO = 0;

export interface SyncPart {
  readonly name: string;
  readonly part_no: number;
  /** The last page is in. */
  readonly done: boolean;
}

/** Makes the part, or takes it up again. Throws `JobClosedError` and `ImportError` as every step does. */
export async function beginPart(pool: Pool, job: JobRow, format: LiveFormat): Promise<SyncPart> {
  const name = job.source ?? format.source;
  const status = await inTransaction(pool, async (client) => {
    const found = await client.query<{ status: string }>(
      "select status from import_parts where job_id = $1 and part_no = $2",
      [job.id, PART_NO],
    );
    const there = found.rows[0]?.status;
    if (there === "running" || there === "done") return there;
    assertOpen(await lockJob(client, job.id), { importId: job.id, attempt: job.attempt });
    await client.query(
      `insert into import_parts as p (job_id, part_no, name, format, status, started_at)
       values ($1, $2, $3, $4, 'running', now())
       on conflict (job_id, part_no) do update set status = 'running' where p.status = 'queued'`,
      [job.id, PART_NO, name, format.name],
    );
    await client.query("update import_jobs set sources = $2, version = version + 1 where id = $1", [
      job.id,
      [format.source],
    ]);
    return "running";
  });
  return { name, part_no: PART_NO, done: status === "done" };
}

/** With the last page, in its transaction. */
export async function finishPart(client: PoolClient, job: JobRow): Promise<void> {
  await client.query(
    `update import_parts set status = 'done', finished_at = now()
      where job_id = $1 and part_no = $2 and status in ('queued', 'running')`,
    [job.id, PART_NO],
  );
}
