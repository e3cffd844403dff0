/** The row of a part while it is imported: begun, put back, settled. */
import type { Pool } from "pg";
import type { RunRef } from "./jobs.js";

/**
 * Takes the part for an attempt. One that is `running` still was left so by an attempt that ended without a word; unless
 * that is known to have ended in order, it counts as lost. Returns how many were lost in a row by now, this process's
 * knowledge included, or null when the job is not this run's any more, is paused, or another run has settled the part:
 * one that was taken for dead must not open it again, for nobody would wait for it to close it.
 */
export async function beginPart(
  pool: Pool,
  ref: RunRef,
  partNo: number,
  endedInOrder: boolean,
): Promise<{ readonly lostAttempts: number } | null> {
  const begun = await pool.query<{ lost_attempts: number }>(
    `with job as (
       update import_jobs set version = version + 1, waiting_reason = null, waiting_until = null
        where id = $1 and attempt = $2 and status in ('running', 'cancelling') returning id
     )
     update import_parts p
        set status = 'running', error_code = null, error_message = null,
            started_at = coalesce(p.started_at, now()), finished_at = null,
            lost_attempts = p.lost_attempts + case when p.status = 'running' and not $4 then 1 else 0 end
       from job
      where p.job_id = job.id and p.part_no = $3 and p.status in ('queued', 'running')
      returning p.lost_attempts`,
    [ref.importId, ref.attempt, partNo, endedInOrder],
  );
  const row = begun.rows[0];
  return row === undefined ? null : { lostAttempts: row.lost_attempts };
}

/** Says that the attempt has ended in order, though the part is not settled. */
export async function putBackPart(pool: Pool, ref: RunRef, partNo: number): Promise<void> {
  await pool.query(
    `with job as (
       update import_jobs set version = version + 1
        where id = $1 and attempt = $2 and status in ('running', 'cancelling', 'paused') returning id
     )
     update import_parts p set status = 'queued'
       from job where p.job_id = job.id and p.part_no = $3 and p.status = 'running'`,
    [ref.importId, ref.attempt, partNo],
  );
}

export interface Settlement {
  readonly status: "done" | "failed";
  readonly error?: { readonly code: string; readonly message: string };
}

/**
 * Settles the part, also of a job that was paused meanwhile, and returns its counts; null when the job is not this
 * run's any more. Another attempt may have been quicker: what is done stays done.
 */
export async function settlePart(
  pool: Pool,
  ref: RunRef,
  partNo: number,
  { status, error }: Settlement,
): Promise<{ read: number; inserted: number } | null> {
  const settled = await pool.query<{ read: number; inserted: number }>(
    `with job as (
       update import_jobs set version = version + 1
        where id = $1 and attempt = $2 and status in ('running', 'cancelling', 'paused') returning id
     )
     update import_parts p
        set status = $4::part_status, error_code = $5, error_message = $6,
            finished_at = now(),
            bytes_read = case when $4 = 'done' then p.bytes_total else p.bytes_read end
       from job
      where p.job_id = job.id and p.part_no = $3 and (p.status in ('queued', 'running') or $4 = 'done')
      returning p.read, p.inserted`,
    [ref.importId, ref.attempt, partNo, status, error?.code ?? null, error?.message ?? null],
  );
  return settled.rows[0] ?? null;
}

/** Rejected records of all parts of a job so far. */
export async function rejectedOf(pool: Pool, jobId: string): Promise<number> {
  const found = await pool.query<{ rejected: number }>(
    "select coalesce(sum(rejected), 0)::bigint as rejected from import_parts where job_id = $1",
    [jobId],
  );
  return found.rows[0]?.rejected ?? 0;
}
