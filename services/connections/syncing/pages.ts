/** Commits one page of a sync: its records as a batch of the job, and the place where the next page begins, or neither. */
import type { Pool, PoolClient } from "pg";
import { createJudge } from "../../import/judge.js";
import { JobClosedError, lockJob } from "../../import/jobs.js";
import type { JobRow } from "../../import/jobs.js";
import { rejectedOf } from "../../import/partState.js";
import type { StepContext, StepsDependencies } from "../../import/stepContext.js";
import { ImportError } from "../../import/verdicts.js";
import type { JudgedBatch, PlayRecord, RejectedRecord, SkippedRecord } from "../../import/writing/batch.js";
import { BatchCommitter } from "../../import/writing/BatchCommitter.js";
import { BordersMovedError } from "../../import/writing/marker.js";
import type { CatalogueResolver } from "../../import/writing/resolver.js";
import { inTransaction } from "../../../db/transaction.js";
import type { LiveFormat, SyncPage } from "../providers/types.js";
import { finishPart } from "./part.js";
import type { SyncPart } from "./part.js";
import { moveOn, PlaceMovedError } from "./runState.js";
import type { Place } from "./runState.js";

export interface PageDependencies extends Pick<StepsDependencies, "observer" | "onCommit"> {
  readonly pool: Pool;
  readonly limits: Pick<StepsDependencies["limits"], "maxRejected">;
}

/** What the page is committed to. */
export interface PageTarget {
  readonly job: JobRow;
  readonly part: SyncPart;
  readonly place: Place;
  readonly format: LiveFormat;
  /** The sync is over with this page. */
  readonly last: boolean;
}

export type CommittedPage =
  { readonly read: number; readonly inserted: number } | { readonly stopped: "stopped" | "paused" };

/** Null when another run was quicker. Throws `JobClosedError`, `ImportError`, `PlaceMovedError`. */
export async function commitPage(
  deps: PageDependencies,
  resolver: CatalogueResolver,
  target: PageTarget,
  page: SyncPage,
  context: StepContext,
): Promise<CommittedPage | null> {
  const { job, place, last } = target;
  const also = async (client: PoolClient): Promise<void> => {
    await moveOn(client, job, place, page.cursor, page.gap);
    if (last) await finishPart(client, job);
  };
  if (page.records.length === 0) return commitEmpty(deps.pool, job, also);
  const batch = judgePage(target, page.records, context);
  const committer = new BatchCommitter({
    pool: deps.pool,
    dryRun: job.dry_run,
    ...(deps.onCommit === undefined ? {} : { onCommit: deps.onCommit }),
  });
  const judgedAt = performance.now();
  const outcome = await committer.commit(batch, resolver, also).catch((error: unknown) => {
    if (error instanceof BordersMovedError) throw new PlaceMovedError();
    throw error;
  });
  switch (outcome.outcome) {
    case "already":
      return null;
    case "stopped":
      if (outcome.why === "owner_gone") throw new ImportError("owner_gone");
      if (outcome.why === "closed") throw new JobClosedError({ importId: job.id, attempt: job.attempt });
      return { stopped: outcome.why === "paused" ? "paused" : "stopped" };
    case "committed": {
      const { counts, reasons } = outcome;
      const seconds = (performance.now() - judgedAt) / 1000;
      deps.observer.batchCommitted({
        format: target.format.name,
        dryRun: job.dry_run,
        counts,
        reasons,
        seconds,
      });
      if (counts.rejected > 0) await refuseHopeless(deps, job);
      return { read: counts.read, inserted: counts.inserted };
    }
  }
}

/** As of a file that is mostly unreadable. */
async function refuseHopeless({ pool, limits }: PageDependencies, job: JobRow): Promise<void> {
  if ((await rejectedOf(pool, job.id)) <= limits.maxRejected) return;
  throw new ImportError(
    "resource_limit",
    `More than ${limits.maxRejected} records of this sync could not be read`,
  );
}

function judgePage(
  { job, part, place, format }: PageTarget,
  records: readonly unknown[],
  { log }: StepContext,
): JudgedBatch {
  const judge = createJudge(format, (record, context) => format.judge(record, context), {
    job,
    part,
    log,
    now: place.polledAt,
  });
  const plays: PlayRecord[] = [];
  const skipped: SkippedRecord[] = [];
  const rejected: RejectedRecord[] = [];
  records.forEach((value, index) => {
    const judged = judge({ position: place.firstPosition + index, value });
    if (judged.verdict === "play") plays.push(judged);
    else if (judged.verdict === "skipped") skipped.push(judged);
    else rejected.push(judged);
  });
  return {
    jobId: job.id,
    userId: job.user_id,
    attempt: job.attempt,
    partNo: part.part_no,
    batchNo: place.batchNo,
    firstPosition: place.firstPosition,
    plays,
    skipped,
    rejected,
    bytesRead: 0,
  };
}

/** A page with nothing in it only moves the place on. */
async function commitEmpty(
  pool: Pool,
  { id, attempt }: JobRow,
  also: (client: PoolClient) => Promise<void>,
): Promise<CommittedPage> {
  return inTransaction(pool, async (client) => {
    // The connection before the job, as with any page.
    await also(client);
    const job = await lockJob(client, id);
    if (job?.attempt !== attempt) throw new JobClosedError({ importId: id, attempt });
    if (job.status === "cancelling" || job.status === "paused") throw new StoppedError(job.status);
    if (job.status !== "running") throw new JobClosedError({ importId: id, attempt });
    await client.query(
      "update import_jobs set version = version + 1, waiting_reason = null, waiting_until = null where id = $1",
      [id],
    );
    return { read: 0, inserted: 0 };
  }).catch((error: unknown) => {
    if (error instanceof StoppedError)
      return { stopped: error.status === "paused" ? "paused" : "stopped" } as const;
    throw error;
  });
}

/** Leaves the transaction of an empty page. */
class StoppedError extends Error {
  constructor(readonly status: "cancelling" | "paused") {
    super(`The job is ${status}`);
  }
}
