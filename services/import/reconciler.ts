/**
 * Makes up for what was missed: starts that failed, cancels and wake-ups that were not heard, workflows that somebody
 * stopped, uploads whose time is over. Runs on an interval in every worker; an advisory lock lets one act at a time.
 */
import type { Pool } from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { inTransaction } from "../../db/transaction.js";
import type { Logger } from "../../utils/logger.js";
import type { BlobStore } from "../storage/BlobStore.js";
import { onlyOnce } from "../upkeep.js";
import { closeJob } from "./closing.js";
import type { Ending } from "./closing.js";
import type { ImportQueue, QueueState } from "./ImportQueue.js";
import { QueueRejectedError, QueueUnavailableError } from "./ImportQueue.js";
import { findJob, isOpen, lockJob } from "./jobs.js";
import type { ImportStatus } from "./jobs.js";
import type { ImportObserver } from "./observer.js";
import { enqueueJob, enqueueUndo } from "./starting.js";

export interface ReconcilerDependencies {
  readonly pool: Pool;
  readonly queue: ImportQueue;
  readonly blobs: BlobStore;
  readonly log: Logger;
  readonly blobKeepDays: number;
  readonly observer: ImportObserver;
  /** Removes what interrupted uploads left in the spool; absent for storage that needs none. */
  readonly sweepSpool?: (olderThanMs: number) => Promise<number>;
}

export interface ReconcileResult {
  /** False when another process was at it. */
  readonly acted: boolean;
  readonly started: number;
  readonly cancelled: number;
  readonly repaired: number;
  /** Resumed imports whose run had not heard of it. */
  readonly woken: number;
  /** Undos that were not under way. */
  readonly undosStarted: number;
  readonly blobsDeleted: number;
}

interface OpenRow {
  readonly id: string;
  readonly attempt: number;
  readonly status: ImportStatus;
}

/** Rows of each kind looked at in one pass; the rest waits for the next. */
const AT_ONCE = 200;
/** Short, and no longer after the tenth failure: when the queue is back, imports must not wait for a clock. */
const START_RETRY_SECONDS = 5;
/** Until an upload that could not be deleted is tried again. */
const DELETE_RETRY_SECONDS = 3600;
/** Longer than any connection of an upload may stand still. */
const STALE_UPLOAD_MS = 60 * 60 * 1000;

/** One pass. Throws what the database throws; a queue that does not answer only ends its own part of the pass. */
export async function reconcile(deps: ReconcilerDependencies): Promise<ReconcileResult> {
  const done = await onlyOnce(deps.pool, ADVISORY_LOCKS.reconcile, async () => {
    const queueWork = await withQueue(deps);
    const blobsDeleted = await deleteBlobs(deps);
    await deps.pool.query("delete from idempotency_keys where created_at < now() - interval '24 hours'");
    await deps.sweepSpool?.(STALE_UPLOAD_MS);
    return { acted: true, ...queueWork, blobsDeleted };
  });
  return done ?? { acted: false, ...NOTHING_DONE, blobsDeleted: 0 };
}

const NOTHING_DONE = { started: 0, cancelled: 0, repaired: 0, woken: 0, undosStarted: 0 };

async function withQueue(deps: ReconcilerDependencies): Promise<typeof NOTHING_DONE> {
  const done = { ...NOTHING_DONE };
  try {
    done.started = await startQueued(deps);
    done.cancelled = await cancelAgain(deps);
    done.repaired = await repairUnderWay(deps);
    done.woken = await wakeResumed(deps);
    done.undosStarted = await startUndos(deps);
  } catch (error) {
    if (!(error instanceof QueueUnavailableError || error instanceof QueueRejectedError)) throw error;
    deps.log.warn("reconciling stopped: the queue does not answer, or refuses", { error });
  }
  return done;
}

/** Each try first moves the next one away, so that a crash in between costs no more than a wait. */
async function startQueued(deps: ReconcilerDependencies): Promise<number> {
  const due = await deps.pool.query<OpenRow>(
    `update import_jobs
        set start_attempts = start_attempts + 1,
            next_start_at = now() + make_interval(secs => $1)
      where id in (
        select id from import_jobs
         where status = 'queued' and (next_start_at is null or next_start_at <= now())
         order by next_start_at nulls first limit $2
         for update skip locked
      )
      returning id, attempt, status`,
    [START_RETRY_SECONDS, AT_ONCE],
  );
  let started = 0;
  for (const row of due.rows) {
    const job = await findJob(deps.pool, row.id);
    if (job?.status !== "queued" || job.attempt !== row.attempt) continue;
    const outcome = await enqueueJob(deps, job);
    if (outcome === null) return started;
    if (outcome === "started") started += 1;
    // It ran and ended before it could take the job: nobody else will close the row.
    else await repair(deps, row);
  }
  return started;
}

async function cancelAgain(deps: ReconcilerDependencies): Promise<number> {
  let cancelled = 0;
  for (const row of await openRows(deps, "cancelling")) {
    const ref = { kind: "import", importId: row.id, attempt: row.attempt } as const;
    const state = await deps.queue.inspect(ref);
    if (state === "open") await deps.queue.requestCancel(ref);
    else if (await close(deps, row, { outcome: "cancelled" })) cancelled += 1;
  }
  return cancelled;
}

async function repairUnderWay(deps: ReconcilerDependencies): Promise<number> {
  let repaired = 0;
  const rows = [...(await openRows(deps, "running")), ...(await openRows(deps, "paused"))];
  for (const row of rows) if (await repair(deps, row)) repaired += 1;
  return repaired;
}

/** A run that waits on is one that did not hear it was resumed. Telling it twice does no harm. */
async function wakeResumed(deps: ReconcilerDependencies): Promise<number> {
  const parked = await deps.pool.query<OpenRow>(
    `select id, attempt, status from import_jobs
      where status in ('queued', 'running') and parked_at is not null order by random() limit $1`,
    [AT_ONCE],
  );
  let woken = 0;
  for (const { id, attempt } of parked.rows)
    if ((await deps.queue.setPaused({ importId: id, attempt }, false)) === "requested") woken += 1;
  return woken;
}

/** An undo has no other end than `undone`: whatever became of its run, another goes on where it was. */
async function startUndos(deps: ReconcilerDependencies): Promise<number> {
  let started = 0;
  for (const row of await openRows(deps, "undoing")) {
    if ((await deps.queue.inspect({ kind: "undo", importId: row.id })) === "open") continue;
    const job = await findJob(deps.pool, row.id);
    if (job?.status === "undoing" && (await enqueueUndo(deps, job)) === "started") started += 1;
  }
  return started;
}

/** A row whose workflow is over can only be closed from here: termination runs no clean-up. */
async function repair(deps: ReconcilerDependencies, row: OpenRow): Promise<boolean> {
  const state = await deps.queue.inspect({ kind: "import", importId: row.id, attempt: row.attempt });
  if (state === "open") return false;
  if (state === "missing") {
    // The queue has lost it (its database is new, say). The steps go on where the batches end.
    const job = await findJob(deps.pool, row.id);
    if (job === undefined || job.attempt !== row.attempt || !isOpen(job.status)) return false;
    if (job.status === "paused") return false; // resuming starts it
    return (await enqueueJob(deps, job)) === "started";
  }
  if (state === "cancelled") return close(deps, row, { outcome: "cancelled" });
  const ending = { outcome: "failed", code: "stopped_by_operator", message: STOPPED[state] } as const;
  return close(deps, row, ending);
}

const STOPPED: Readonly<Record<Exclude<QueueState, "open" | "missing" | "cancelled">, string>> = {
  terminated: "The run was terminated from outside",
  timed_out: "The run took longer than it may",
  failed: "The run failed before it could close the import",
  completed: "The run ended without closing the import",
};

/**
 * Closes jobs whose run was asked to stop and has not, for it hangs, or waits for its turn, or the queue is away. Cheap,
 * and safe beside itself and the run: call it often.
 */
export async function closeLateCancels(deps: ClosingDependencies): Promise<number> {
  const late = await deps.pool.query<OpenRow>(
    `select id, attempt, status from import_jobs where status = 'cancelling' and next_start_at <= now()
      order by next_start_at limit $1`,
    [AT_ONCE],
  );
  let closed = 0;
  for (const row of late.rows) if (await close(deps, row, { outcome: "cancelled" })) closed += 1;
  return closed;
}

type ClosingDependencies = Pick<ReconcilerDependencies, "pool" | "log" | "blobKeepDays" | "observer">;

/** False when the row has moved on since it was read: then its workflow did close it after all. */
async function close(deps: ClosingDependencies, row: OpenRow, ending: Ending): Promise<boolean> {
  const closed = await inTransaction(deps.pool, async (client) => {
    const job = await lockJob(client, row.id);
    if (job === undefined || job.attempt !== row.attempt || !isOpen(job.status)) return null;
    return closeJob(client, job, ending, deps.blobKeepDays);
  });
  if (closed === null) return false;
  deps.observer.jobClosed(closed);
  const { status, code } = closed;
  deps.log.warn("an import was closed on behalf of its workflow", { importId: row.id, status, code });
  return true;
}

async function openRows(deps: ReconcilerDependencies, status: ImportStatus): Promise<OpenRow[]> {
  const found = await deps.pool.query<OpenRow>(
    "select id, attempt, status from import_jobs where status = $1 order by random() limit $2",
    [status, AT_ONCE],
  );
  return found.rows;
}

/**
 * Row locked, file deleted, key cleared, in this order: a crash in between only repeats the deleting. A file that cannot
 * be deleted is left for later, so that it holds up no other.
 */
async function deleteBlobs(deps: ReconcilerDependencies): Promise<number> {
  let deleted = 0;
  for (let tries = 0; tries < AT_ONCE; tries += 1) {
    const outcome = await inTransaction(deps.pool, async (client) => {
      const due = await client.query<{ id: string; blob_key: string }>(
        `select id, blob_key from import_jobs
          where blob_key is not null and blob_delete_after <= now()
            and status not in ('queued', 'running', 'paused', 'cancelling')
          order by blob_delete_after limit 1 for update skip locked`,
      );
      const job = due.rows[0];
      if (job === undefined) return "none";
      try {
        await deps.blobs.delete(job.blob_key);
      } catch (error) {
        deps.log.error("an upload could not be deleted", { importId: job.id, error });
        await client.query(
          "update import_jobs set blob_delete_after = now() + make_interval(secs => $2) where id = $1",
          [job.id, DELETE_RETRY_SECONDS],
        );
        return "kept";
      }
      await client.query("delete from import_dry_keys where job_id = $1", [job.id]);
      await client.query("update import_jobs set blob_key = null, blob_delete_after = null where id = $1", [
        job.id,
      ]);
      return "deleted";
    });
    if (outcome === "none") break;
    if (outcome === "deleted") deleted += 1;
  }
  return deleted;
}
