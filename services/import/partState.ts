/** The row of a part while it is imported: begun and settled. */
import { JobClosedError } from "./jobs.js";
import type { RunRef } from "./jobs.js";
import type { StepsDependencies } from "./stepContext.js";

/**
 * False when the job is not this run's any more, or another run has settled the part: one that was taken for dead must
 * not open it again, for nobody would wait for it to close it.
 */
export async function beginPart(deps: StepsDependencies, ref: RunRef, partNo: number): Promise<boolean> {
  const begun = await deps.pool.query(
    `with job as (
       update import_jobs set version = version + 1
        where id = $1 and attempt = $2 and status in ('running', 'cancelling') returning id
     )
     update import_parts p
        set status = 'running', error_code = null, error_message = null,
            started_at = coalesce(p.started_at, now()), finished_at = null
       from job
      where p.job_id = job.id and p.part_no = $3 and p.status in ('queued', 'running')`,
    [ref.importId, ref.attempt, partNo],
  );
  return begun.rowCount === 1;
}

/** Settles the part, also of a job that was paused meanwhile, unless it is not this run's any more; returns its counts. */
export async function settlePart(
  deps: StepsDependencies,
  ref: RunRef,
  partNo: number,
  change: {
    readonly status: "done" | "failed";
    readonly error?: { readonly code: string; readonly message: string };
  },
): Promise<{ read: number; inserted: number }> {
  const settled = await deps.pool.query<{ read: number; inserted: number }>(
    `with job as (
       update import_jobs set version = version + 1
        where id = $1 and attempt = $2 and status in ('running', 'cancelling', 'paused') returning id
     )
     update import_parts p
        set status = $4::part_status, error_code = $5, error_message = $6,
            finished_at = now(),
            bytes_read = case when $4 = 'done' then p.bytes_total else p.bytes_read end
       from job
      where p.job_id = job.id and p.part_no = $3
      returning p.read, p.inserted`,
    [
      ref.importId,
      ref.attempt,
      partNo,
      change.status,
      change.error?.code ?? null,
      change.error?.message ?? null,
    ],
  );
  const counts = settled.rows[0];
  if (counts === undefined) throw new JobClosedError(ref);
  return counts;
}
