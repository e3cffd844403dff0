/**
 * The steps of an import, for whatever runs them: prepare once, each part, finish. Every step may run any number
 * of times, also twice at once, and has its effect once. Nothing here knows the queue that calls it.
 *
 * Steps throw `ImportError` where running again cannot help, `JobClosedError` when this run has nothing to do any more,
 * the signal's reason when they were asked to stop, and anything else (a lost connection) to be run again.
 */
import { closeJob } from "./closing.js";
import type { Ending } from "./closing.js";
import { linkImport } from "./linking.js";
import type { Linked } from "./linking.js";
import { assertOpen, findJob, findPart, isOpen, JobClosedError, lockJob } from "./jobs.js";
import type { ImportStatus, RunRef } from "./jobs.js";
import { park, unpark } from "./parking.js";
import { PartAttempts } from "./partAttempts.js";
import { importPart } from "./partImport.js";
import type { PartOutcome } from "./partImport.js";
import { prepare } from "./prepare.js";
import type { Prepared } from "./prepare.js";
import { deleteSpooledArchives } from "./releaseUpload.js";
import type { StepContext, StepsDependencies } from "./stepContext.js";
import { undoImport } from "./undo.js";
import type { Undone } from "./undo.js";
import { ImportError } from "./verdicts.js";
import { noteWaiting } from "./waiting.js";
import type { OutageReason } from "./waiting.js";
import { CatalogueResolver } from "./writing/resolver.js";
import { inTransaction } from "../../db/transaction.js";

export interface ImportSteps {
  /** Detects what is in the upload and writes its parts. */
  prepare(ref: RunRef, context: StepContext): Promise<Prepared>;
  /** Numbers, ascending and greater than `afterPart`, of parts that are not settled. */
  openParts(ref: RunRef, afterPart: number, limit: number): Promise<number[]>;
  importPart(ref: RunRef, partNo: number, context: StepContext): Promise<PartOutcome>;
  /** Settles a part that no attempt could finish, unless one did after all; what is in stays in. */
  failPart(
    ref: RunRef,
    partNo: number,
    error: { readonly code: string; readonly message: string },
  ): Promise<PartOutcome>;
  /**
   * Links the plays that are in with those of other sources, after the last part, whatever the ending. Exits at once when
   * there is nothing to do; the worker makes up for one that was left out. See linking.ts.
   */
  link(ref: RunRef, context: StepContext): Promise<Linked>;
  /** Closes the job, unless it is complete and paused. Never cancelled half way; a second call changes nothing. */
  finish(ref: RunRef, ending: Ending): Promise<ImportStatus>;
  /** Marks a paused job as waiting to be woken; see parking.ts. */
  park(ref: RunRef): Promise<{ readonly parked: boolean }>;
  unpark(ref: RunRef): Promise<{ readonly resumed: boolean }>;
  /** Shows what the run waits for, after a step failed because of it; never throws. See waiting.ts. */
  noteWaiting(
    ref: { readonly importId: string; readonly attempt?: number },
    reason: OutageReason,
  ): Promise<void>;
  /** Takes a closed import's plays back out of the history and closes it as undone. */
  undo(importId: string, context: StepContext): Promise<Undone>;
}

export function createImportSteps(deps: StepsDependencies): ImportSteps {
  const partDeps = { ...deps, resolver: new CatalogueResolver(deps.pool), attempts: new PartAttempts() };
  return {
    prepare: (ref, context) => prepare(deps, ref, context),
    importPart: (ref, partNo, context) => importPart(partDeps, ref, partNo, context),
    link: ({ importId }, context) => linkImport(deps.pool, importId, context),
    park: (ref) => park(deps, ref),
    unpark: (ref) => unpark(deps, ref),
    noteWaiting: ({ importId, attempt }, reason) => noteWaiting(deps, importId, attempt ?? null, reason),
    undo: (importId, context) => undoImport(deps, importId, context),

    async openParts(ref, afterPart, limit) {
      assertOpen(await findJob(deps.pool, ref.importId), ref);
      const found = await deps.pool.query<{ part_no: number }>(
        `select part_no from import_parts
          where job_id = $1 and part_no > $2 and status in ('queued', 'running')
          order by part_no limit $3`,
        [ref.importId, afterPart, limit],
      );
      return found.rows.map((row) => row.part_no);
    },

    async failPart(ref, partNo, error) {
      const [outcome, failed] = await inTransaction(deps.pool, async (client) => {
        const job = await lockJob(client, ref.importId);
        assertOpen(job, ref);
        const update = await client.query<{ format: string | null }>(
          `update import_parts set status = 'failed', error_code = $3, error_message = $4, finished_at = now()
            where job_id = $1 and part_no = $2 and status in ('queued', 'running') returning format`,
          [ref.importId, partNo, error.code, error.message.slice(0, 1000)],
        );
        await client.query("update import_jobs set version = version + 1 where id = $1", [ref.importId]);
        const part = await findPart(client, ref.importId, partNo);
        const { read, inserted } = part ?? { read: 0, inserted: 0 };
        const status = part?.status === "done" ? "done" : "failed";
        return [{ status, read, inserted } as const, update.rows[0]] as const;
      });
      if (failed !== undefined)
        deps.observer.partSettled({ format: failed.format, status: "failed", code: error.code });
      return outcome;
    },

    async finish(ref, ending) {
      const closed = await inTransaction(deps.pool, async (client) => {
        const job = await lockJob(client, ref.importId);
        if (job === undefined) throw new ImportError("owner_gone");
        if (job.attempt !== ref.attempt) throw new JobClosedError(ref);
        // What is paused stays so until its owner says otherwise, also when nothing is left to do.
        const waits = job.status === "paused" && ending.outcome === "completed";
        if (waits || !isOpen(job.status)) return job.status;
        return closeJob(client, job, ending, deps.blobKeepDays);
      });
      const status = typeof closed === "string" ? closed : closed.status;
      if (!isOpen(status)) await deleteSpooledArchives(deps, ref.importId);
      if (typeof closed !== "string") deps.observer.jobClosed(closed);
      return status;
    },
  };
}
