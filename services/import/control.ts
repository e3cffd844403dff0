/** What an owner may do to an import: which status allows what, and what it changes. */
import type { Pool } from "pg";
import { brokenConstraint } from "../../db/errors.js";
import { ConflictError, NotFoundError } from "../../utils/errors.js";
import { importWorkflowId } from "../../workflows/contracts.js";
import { closeJob } from "./closing.js";
import { lockJob } from "./jobs.js";
import type { ImportStatus, JobRow } from "./jobs.js";
import { inTransaction } from "./writing/transaction.js";

/** Before the first look of the reconciler, the caller itself tries to start the work. */
export const START_GRACE_SECONDS = 5;

export const noSuchImport = (): NotFoundError => new NotFoundError("There is no such import");

/**
 * `closed`: nothing had begun, the job is cancelled. `asked`: the work must be told. `already`: it is cancelled, or
 * being cancelled. Throws `NotFoundError`, `ConflictError("wrong_state")`.
 */
export async function cancelJob(
  pool: Pool,
  userId: string,
  id: string,
  keepDays: number,
): Promise<{ readonly effect: "closed" | "asked" | "already"; readonly attempt: number }> {
  return inTransaction(pool, async (client) => {
    const job = ownedBy(userId, await lockJob(client, id));
    const { status, attempt } = job;
    switch (status) {
      case "queued":
        await closeJob(client, job, { outcome: "cancelled" }, keepDays);
        return { effect: "closed", attempt };
      case "running":
      case "paused":
        await client.query(
          "update import_jobs set status = 'cancelling', version = version + 1 where id = $1",
          [id],
        );
        return { effect: "asked", attempt };
      case "cancelling":
      case "cancelled":
        return { effect: "already", attempt };
      default:
        throw wrongState("cancelled", status);
    }
  });
}

/**
 * Makes a closed job `queued` again under the next attempt; parts that are done stay done. `already`: it is queued
 * or running. Throws `NotFoundError`, `ConflictError` (`wrong_state`, `upload_gone`).
 */
export async function retryJob(
  pool: Pool,
  userId: string,
  id: string,
): Promise<{ readonly effect: "queued" | "already" }> {
  try {
    return await inTransaction(pool, async (client) => {
      const job = ownedBy(userId, await lockJob(client, id));
      if (job.status === "queued" || job.status === "running") return { effect: "already" };
      if (!["failed", "cancelled", "completed_with_errors"].includes(job.status))
        throw wrongState("retried", job.status);
      const gone = job.blob_delete_after !== null && job.blob_delete_after.getTime() <= Date.now();
      if (job.blob_key === null || gone)
        throw new ConflictError("upload_gone", "The uploaded file is not kept any more; upload it again");
      const attempt = job.attempt + 1;
      await client.query(
        `update import_jobs
            set status = 'queued', attempt = $2, workflow_id = $3, totals = null, error_code = null,
                error_message = null, finished_at = null, blob_delete_after = null, start_attempts = 1,
                next_start_at = now() + make_interval(secs => $4), version = version + 1
          where id = $1`,
        [id, attempt, importWorkflowId(id, attempt), START_GRACE_SECONDS],
      );
      await client.query(
        `update import_parts set status = 'queued', error_code = null, error_message = null, finished_at = null
          where job_id = $1 and format is not null and status in ('running', 'failed')`,
        [id],
      );
      return { effect: "queued" };
    });
  } catch (error) {
    if (brokenConstraint(error) !== "import_jobs_same_upload") throw error;
    throw new ConflictError("wrong_state", "The same upload is being imported by another job");
  }
}

function ownedBy(userId: string, job: JobRow | undefined): JobRow {
  if (job === undefined || job.user_id !== userId) throw noSuchImport();
  return job;
}

function wrongState(done: string, status: ImportStatus): ConflictError {
  return new ConflictError("wrong_state", `An import that is ${status} cannot be ${done}`);
}
