/** Imports one part, as one step of its import. */
import { formatByName } from "./formats/index.js";
import { assertOpen, findJob, findPart, JobClosedError } from "./jobs.js";
import type { JobRow, PartRow, RunRef } from "./jobs.js";
import type { PartAttempts } from "./partAttempts.js";
import { PartReader } from "./partReader.js";
import type { PartReaderDependencies, Stopped } from "./partReader.js";
import { beginPart, putBackPart, settlePart } from "./partState.js";
import type { Settlement } from "./partState.js";
import { keepStatistics } from "./plannerStatistics.js";
import type { Upload, UploadEntry } from "./reading/upload.js";
import type { StepContext } from "./stepContext.js";
import { surveyPart } from "./surveying.js";
import { ImportError } from "./verdicts.js";
import { withUpload } from "./withUpload.js";

export interface PartDependencies extends PartReaderDependencies {
  readonly attempts: PartAttempts;
}

export interface PartOutcome {
  /** `stopped`: the job was asked to stop; `paused`: to wait, and the part goes on later. What was committed stays. */
  readonly status: "done" | "skipped" | "failed" | "stopped" | "paused";
  readonly read: number;
  readonly inserted: number;
}

export async function importPart(
  deps: PartDependencies,
  ref: RunRef,
  partNo: number,
  context: StepContext,
): Promise<PartOutcome> {
  return new PartImport(deps, ref, partNo, context).run();
}

class PartImport {
  constructor(
    private readonly deps: PartDependencies,
    private readonly ref: RunRef,
    private readonly partNo: number,
    private readonly context: StepContext,
  ) {}

  /** Looks at job and part, and again whenever they turn out to have changed since. */
  async run(): Promise<PartOutcome> {
    const { pool } = this.deps;
    for (;;) {
      const job = await findJob(pool, this.ref.importId);
      assertOpen(job, this.ref);
      const part = await findPart(pool, this.ref.importId, this.partNo);
      if (part === undefined) throw new JobClosedError(this.ref);
      const { status, read, inserted } = part;
      if (status === "done" || status === "skipped" || status === "failed") return { status, read, inserted };
      if (job.status === "paused") return { status: "paused", read, inserted };
      if (job.status === "cancelling") return { status: "stopped", read, inserted };
      const outcome = await this.#attempt(job, part);
      if (outcome !== null) return outcome;
    }
  }

  /** Null when the part was not this run's to take, or settled by another meanwhile. */
  async #attempt(job: JobRow, part: PartRow): Promise<PartOutcome | null> {
    const lost = await this.#begin(part);
    if (lost === null) return null;
    const { maxLostAttempts } = this.deps.limits;
    if (lost >= maxLostAttempts) {
      const message = `The worker ended ${lost} times in a row while it read this file, which may take more memory than it has`;
      return this.#settle(part, { status: "failed", error: { code: "resource_limit", message } });
    }
    try {
      if (lost === 0 || lost < maxLostAttempts - 1) return await this.#read(job, part);
      await putBackPart(this.deps.pool, this.ref, this.partNo);
      return await this.deps.attempts.alone(this.context.signal, async () =>
        (await this.#begin({ ...part, status: "queued" })) === null ? null : await this.#read(job, part),
      );
    } catch (error) {
      await this.#putBack();
      throw error;
    }
  }

  /** As `beginPart`; counts and reports an attempt that was lost. */
  async #begin(part: PartRow): Promise<number | null> {
    const { importId } = this.ref;
    const ended = this.deps.attempts.takeEndedInOrder(importId, this.partNo);
    const begun = await beginPart(this.deps.pool, this.ref, this.partNo, ended).catch((error: unknown) => {
      if (ended) this.deps.attempts.endedInOrder(importId, this.partNo); // not heard, so it is told again
      throw error;
    });
    if (begun === null) return null;
    if (part.status === "running" && !ended) {
      this.deps.observer.attemptLost({ format: part.format });
      this.context.log.warn("an attempt at a part ended without a word", {
        importId,
        partNo: this.partNo,
        lostAttempts: begun.lostAttempts,
      });
    }
    return begun.lostAttempts;
  }

  async #read(job: JobRow, part: PartRow): Promise<PartOutcome | null> {
    const stopped = await readPart(this.deps, job, part, this.context);
    if (stopped === null) return this.#settle(part, { status: "done" });
    if (stopped instanceof ImportError) {
      const { code, message } = stopped;
      this.context.log.info("a part could not be read to its end", {
        importId: job.id,
        partNo: this.partNo,
        code,
      });
      return this.#settle(part, { status: "failed", error: { code, message } });
    }
    switch (stopped.why) {
      case "cancelling":
      case "paused": {
        await this.#putBack();
        const now = await findPart(this.deps.pool, this.ref.importId, this.partNo);
        const status = stopped.why === "paused" ? "paused" : "stopped";
        return { status, read: now?.read ?? 0, inserted: now?.inserted ?? 0 };
      }
      case "owner_gone":
        throw new ImportError("owner_gone");
      case "closed":
        throw new JobClosedError(this.ref);
    }
  }

  async #settle(part: PartRow, settlement: Settlement): Promise<PartOutcome | null> {
    await keepStatistics(this.deps.pool, this.context.log);
    const counts = await settlePart(this.deps.pool, this.ref, this.partNo, settlement);
    if (counts === null) return null;
    const { status, error } = settlement;
    this.deps.observer.partSettled({ format: part.format, status, code: error?.code ?? null });
    return { ...counts, status };
  }

  /** Best effort: an attempt that cannot be seen to have ended in order counts as lost, which is noticed in time. */
  async #putBack(): Promise<void> {
    try {
      await putBackPart(this.deps.pool, this.ref, this.partNo);
    } catch {
      this.deps.attempts.endedInOrder(this.ref.importId, this.partNo);
    }
  }
}

const RENUMBERED =
  "The limits for archives have changed since the import began, and the files of this upload are counted otherwise now; upload it again";

/** Which archives are opened depends on limits, and the numbers of the files in those behind them on that. */
const isSameFile = (entry: UploadEntry, part: PartRow): boolean =>
  entry.name === part.name && (entry.problem !== null || entry.sizeBytes === part.bytes_total);

/** Returns null at the end of the file, the error of the file, or why the job must not go on. */
async function readPart(
  deps: PartReaderDependencies,
  job: JobRow,
  part: PartRow,
  context: StepContext,
): Promise<null | ImportError | Stopped> {
  const format = part.format === null ? undefined : formatByName(part.format);
  // Only another version of playlog can have named a format that this one does not have.
  if (format === undefined) throw new ImportError("parser_changed");
  const work = async (upload: Upload) => {
    try {
      const entry = await upload.entry(part.part_no);
      if (!isSameFile(entry, part)) throw new ImportError("parser_changed", RENUMBERED);
      const judge = await surveyPart(deps, { upload, entry, job, format }, context);
      const stream = await entry.open(context.signal);
      return await new PartReader(deps, job, part, format, judge, context).run(stream);
    } catch (error) {
      // What the archive layer has to say about this one file is this part's error, not the job's.
      if (error instanceof ImportError && error.code !== "storage_lost") return error;
      throw error;
    }
  };
  return withUpload(deps, job, work, context.signal);
}
