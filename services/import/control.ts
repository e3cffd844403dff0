/** What an owner may do to an import: which status allows what, and what it changes. */
import type { Pool, PoolClient } from "pg";
import { brokenConstraint } from "../../db/errors.js";
import { inTransaction } from "../../db/transaction.js";
import { ConflictError, NotFoundError } from "../../utils/errors.js";
import { importWorkflowId } from "../../workflows/contracts.js";
import { forgetFailures } from "../connections/syncing/runState.js";
import { closeJob } from "./closing.js";
import { isOpen, lockJob } from "./jobs.js";
import type { ImportStatus, JobRow } from "./jobs.js";

/** Before the first look of the reconciler, the caller itself tries to start the work. */
export const START_GRACE_SECONDS = 5;

/**
 * A run that was asked to stop has so long to do it; then the job is closed over its head, so that a cancel never waits
 * for a step that hangs, or for its turn. Whatever that step tries to commit afterwards finds the job closed.
 */
const CANCEL_GRACE_SECONDS = 7;

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
  return withOwnJob(pool, userId, id, async (client, job) => {
    const { status, attempt } = job;
    switch (status) {
      case "queued":
      case "running":
      case "paused":
        if (status === "queued" || job.started_at === null) {
          await closeJob(client, job, { outcome: "cancelled" }, keepDays);
          return { effect: "closed", attempt };
        }
        await client.query(
          `update import_jobs
              set status = 'cancelling', waiting_reason = null, waiting_until = null, version = version + 1,
                  next_start_at = now() + make_interval(secs => $2)
            where id = $1`,
          [id, CANCEL_GRACE_SECONDS],
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
 * Makes a job `paused`; what is being written is finished. `changed` is false when it was paused already. Throws
 * `NotFoundError`, `ConflictError("wrong_state")`.
 */
export async function pauseJob(
  pool: Pool,
  userId: string,
  id: string,
): Promise<{ readonly changed: boolean; readonly attempt: number }> {
  return withOwnJob(pool, userId, id, async (client, { status, attempt }) => {
    if (status === "paused") return { changed: false, attempt };
    if (status !== "queued" && status !== "running") throw wrongState("paused", status);
    await client.query(
      `update import_jobs
          set status = 'paused', waiting_reason = 'paused_by_user', waiting_until = null, next_start_at = null,
              version = version + 1
        where id = $1`,
      [id],
    );
    return { changed: true, attempt };
  });
}

/**
 * Makes a paused job `running` again, or `queued` when nothing had begun. `changed` is false when it was not paused.
 * Throws `NotFoundError`, `ConflictError("wrong_state")`.
 */
export async function resumeJob(
  pool: Pool,
  userId: string,
  id: string,
): Promise<{ readonly changed: boolean; readonly attempt: number }> {
  return withOwnJob(pool, userId, id, async (client, { status, attempt }) => {
    if (status === "queued" || status === "running") return { changed: false, attempt };
    if (status !== "paused") throw wrongState("resumed", status);
    await client.query(
      `update import_jobs
          set status = case when started_at is null then 'queued' else 'running' end::import_status,
              next_start_at = case when started_at is null then now() + make_interval(secs => $2) end,
              waiting_reason = null, waiting_until = null, version = version + 1
        where id = $1`,
      [id, START_GRACE_SECONDS],
    );
    return { changed: true, attempt };
  });
}

/**
 * Makes a closed job `undoing`. `changed` is false when it is undone, or being undone. Throws `NotFoundError`,
 * `ConflictError("wrong_state")` for a job that is open.
 */
export async function undoJob(
  pool: Pool,
  userId: string,
  id: string,
): Promise<{ readonly changed: boolean }> {
  return withOwnJob(pool, userId, id, async (client, { status }) => {
    if (status === "undoing" || status === "undone") return { changed: false };
    if (isOpen(status)) throw wrongState("undone", status);
    await client.query("update import_jobs set status = 'undoing', version = version + 1 where id = $1", [
      id,
    ]);
    return { changed: true };
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
    return await withOwnJob(pool, userId, id, async (client, job) => {
      if (job.status === "queued" || job.status === "running") return { effect: "already" };
      if (!["failed", "cancelled", "completed_with_errors"].includes(job.status))
        throw wrongState("retried", job.status);
      assertRepeatable(job);
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
        `update import_parts
            set status = 'queued', error_code = null, error_message = null, finished_at = null, lost_attempts = 0
          where job_id = $1 and format is not null and status in ('queued', 'running', 'failed')`,
        [id],
      );
      await forgetFailures(client, id);
      return { effect: "queued" };
    });
  } catch (error) {
    switch (brokenConstraint(error)) {
      case "import_jobs_same_upload":
        throw new ConflictError("wrong_state", "The same upload is being imported by another job");
      case "import_jobs_open_sync":
        throw new ConflictError("wrong_state", "Another sync of this connection is under way");
      default:
        throw error;
    }
  }
}

/** An upload that is kept, or pages that are asked for from where they ended. */
function assertRepeatable(job: JobRow): void {
  const hasPages = job.kind === "sync" && job.sha256 === null;
  if (hasPages && job.connection_id === null)
    throw new ConflictError("wrong_state", "The connection of this sync has been removed");
  const gone = job.blob_delete_after !== null && job.blob_delete_after.getTime() <= Date.now();
  if (!hasPages && (job.blob_key === null || gone))
    throw new ConflictError("upload_gone", "The uploaded file is not kept any more; upload it again");
}

/** The row is held until the transaction ends, so that two who want different things come one after the other. */
async function withOwnJob<T>(
  pool: Pool,
  userId: string,
  id: string,
  work: (client: PoolClient, job: JobRow) => Promise<T>,
): Promise<T> {
  return inTransaction(pool, async (client) => {
    const job = await lockJob(client, id);
    if (job === undefined || job.user_id !== userId) throw noSuchImport();
    return work(client, job);
  });
}

function wrongState(done: string, status: ImportStatus): ConflictError {
  return new ConflictError("wrong_state", `An import that is ${status} cannot be ${done}`);
}
