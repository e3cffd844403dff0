/** Imports one part: stream, parse, judge, batch, commit. Reading is one batch ahead of writing. */
import type { Readable } from "node:stream";
import { formatByName } from "./formats/index.js";
import { assertOpen, findJob, findPart, JobClosedError } from "./jobs.js";
import type { JobRow, PartRow, RunRef } from "./jobs.js";
import { readRecords } from "./reading/records.js";
import type { StepContext, StepsDependencies } from "./stepContext.js";
import type { ImportFormat, PartContext, RawRecord } from "./types.js";
import { ImportError, SKIP_REASONS } from "./verdicts.js";
import type { ImportErrorCode } from "./verdicts.js";
import type {
  BatchOutcome,
  JudgedBatch,
  PlayRecord,
  RejectedRecord,
  SkippedRecord,
} from "./writing/batch.js";
import { BatchCommitter } from "./writing/BatchCommitter.js";
import type { CatalogueResolver } from "./writing/resolver.js";
import { withUpload } from "./withUpload.js";

export interface PartDependencies extends StepsDependencies {
  /** Shared by all parts of the process: files of one export hold the same tracks. */
  readonly resolver: CatalogueResolver;
}

export interface PartOutcome {
  /** `stopped`: the job was asked to stop; what was committed stays. */
  readonly status: "done" | "skipped" | "failed" | "stopped";
  readonly read: number;
  readonly inserted: number;
}

/**
 * Errors that are a property of the file's bytes: every later reading breaks off at the same record, so the records
 * before it may be committed as a last, short batch. Others (a limit that may be raised) leave whole batches only.
 */
const FIXED_BY_BYTES: ReadonlySet<ImportErrorCode> = new Set([
  "file_truncated",
  "entry_corrupt",
  "encoding",
  "csv_unclosed_quote",
]);

export async function importPart(
  deps: PartDependencies,
  ref: RunRef,
  partNo: number,
  context: StepContext,
): Promise<PartOutcome> {
  const job = await findJob(deps.pool, ref.importId);
  assertOpen(job, ref);
  const part = await findPart(deps.pool, ref.importId, partNo);
  if (part === undefined) throw new JobClosedError(ref);
  if (part.status === "done" || part.status === "skipped" || part.status === "failed")
    return { status: part.status, read: part.read, inserted: part.inserted };
  if (job.status === "cancelling") return { status: "stopped", read: part.read, inserted: part.inserted };

  // Settled, or the job closed, since it was read: look again.
  if (!(await beginPart(deps, ref, partNo))) return importPart(deps, ref, partNo, context);
  const stopped = await runPart(deps, job, part, context);
  if (stopped === null)
    return { ...(await settlePart(deps, ref, partNo, { status: "done" })), status: "done" };
  if (stopped instanceof ImportError) {
    const error = { code: stopped.code, message: stopped.message };
    const counts = await settlePart(deps, ref, partNo, { status: "failed", error });
    context.log.info("a part could not be read to its end", { importId: job.id, partNo, code: stopped.code });
    return { ...counts, status: "failed" };
  }
  switch (stopped.why) {
    case "cancelling": {
      const now = await findPart(deps.pool, ref.importId, partNo);
      return { status: "stopped", read: now?.read ?? 0, inserted: now?.inserted ?? 0 };
    }
    case "owner_gone":
      throw new ImportError("owner_gone");
    case "closed":
      throw new JobClosedError(ref);
  }
}

type Stopped = Extract<BatchOutcome, { outcome: "stopped" }>;

/** Returns null at the end of the file, the error of the file, or why the job must not go on. */
async function runPart(
  deps: PartDependencies,
  job: JobRow,
  part: PartRow,
  context: StepContext,
): Promise<null | ImportError | Stopped> {
  const format = part.format === null ? undefined : formatByName(part.format);
  // Only another version of playlog can have named a format that this one does not have.
  if (format === undefined) throw new ImportError("parser_changed");
  return withUpload(deps, job, async (upload) => {
    try {
      const entry = await upload.entry(part.part_no);
      const stream = await entry.open(context.signal);
      return await new PartReader(deps, job, part, format, context).run(stream);
    } catch (error) {
      // What the archive layer has to say about this one file is this part's error, not the job's.
      if (error instanceof ImportError && error.code !== "storage_lost") return error;
      throw error;
    }
  });
}

class PartReader {
  readonly #committer: BatchCommitter;
  readonly #judge: PartContext;
  /** Records in each batch that has its marker. */
  #marked = new Map<number, number>();
  #batchNo = 0;
  #plays: PlayRecord[] = [];
  #skipped: SkippedRecord[] = [];
  #rejected: RejectedRecord[] = [];
  #records = 0;
  #bytesRead = 0;
  /** The batch being written while the next is read. Never rejects; its error is thrown by `#settle`. */
  #writing: Promise<{ outcome: BatchOutcome } | { error: unknown }> | null = null;
  #stopped: Stopped | null = null;

  constructor(
    private readonly deps: PartDependencies,
    private readonly job: JobRow,
    private readonly part: PartRow,
    private readonly format: ImportFormat,
    private readonly context: StepContext,
  ) {
    this.#committer = new BatchCommitter({
      pool: deps.pool,
      ...(deps.onCommit === undefined ? {} : { onCommit: deps.onCommit }),
    });
    this.#judge = { name: part.name, includeIncognito: false, now: job.created_at.getTime() };
  }

  async run(stream: Readable): Promise<null | ImportError | Stopped> {
    this.#marked = await this.#markedBatches();
    try {
      const broken = await this.#read(stream);
      if (this.#stopped === null && (broken === null || FIXED_BY_BYTES.has(broken.code))) await this.#flush();
      await this.#settle();
      return this.#stopped ?? broken;
    } finally {
      // Whatever happened, no batch may be in flight when the step is over.
      await this.#writing;
    }
  }

  async #read(stream: Readable): Promise<ImportError | null> {
    const { signal } = this.context;
    const options = { format: this.format, recordMaxBytes: this.deps.limits.recordMaxBytes, signal };
    try {
      for await (const chunk of readRecords(stream, options)) {
        this.context.heartbeat({ part: this.part.part_no, batch: this.#batchNo, bytes: this.#bytesRead });
        for (const record of chunk.records) {
          const batchNo = Math.floor(record.position / this.job.batch_rows);
          if (batchNo !== this.#batchNo) {
            await this.#flush();
            if (this.#stopped !== null) return null;
            signal.throwIfAborted();
            this.#batchNo = batchNo;
          }
          this.#take(record);
        }
        this.#bytesRead = chunk.bytesRead;
      }
      return null;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ImportError && error.code !== "storage_lost") return error;
      throw error;
    }
  }

  #take(record: RawRecord): void {
    this.#records += 1;
    if (this.#marked.has(this.#batchNo)) return; // read over: this batch is in
    const { position } = record;
    if ("reason" in record) {
      const { reason, message, excerpt } = record;
      this.#rejected.push({ position, reason, message, excerpt });
      return;
    }
    const { value } = record;
    const verdict = this.#verdict(value, position);
    if (verdict.verdict === "play") this.#plays.push({ position, play: verdict.play });
    else if (verdict.verdict === "rejected") {
      const { reason, message } = verdict;
      this.#rejected.push({ position, reason, message, excerpt: this.format.excerpt(value) });
    } else {
      const { reason, message = SKIP_REASONS[reason].sentence } = verdict;
      this.#skipped.push({ position, reason, message, excerpt: this.format.excerpt(value) });
    }
  }

  /** A format that throws has a fault, but only this record pays for it. */
  #verdict(value: unknown, position: number) {
    try {
      return this.format.judge(value, this.#judge);
    } catch (cause) {
      this.context.log.error("a format failed to judge a record", {
        importId: this.job.id,
        format: this.format.name,
        part: this.part.part_no,
        position,
        cause,
      });
      return { verdict: "rejected", reason: "malformed", message: "The record could not be judged" } as const;
    }
  }

  /** Waits for the batch before, then starts writing the one that was just read. */
  async #flush(): Promise<void> {
    const records = this.#records;
    const batch = this.#takeBatch();
    await this.#settle();
    if (this.#stopped !== null || records === 0) return;
    const marked = this.#marked.get(batch.batchNo);
    if (marked !== undefined) {
      // The upload is not what it was: its batches would no longer be the same rows.
      if (marked !== records) throw new ImportError("storage_lost", "The stored upload has changed");
      return;
    }
    this.#writing = this.#committer.commit(batch, this.deps.resolver).then(
      (outcome) => ({ outcome }),
      (error: unknown) => ({ error }),
    );
  }

  #takeBatch(): JudgedBatch {
    const batch = {
      jobId: this.job.id,
      userId: this.job.user_id,
      attempt: this.job.attempt,
      partNo: this.part.part_no,
      batchNo: this.#batchNo,
      firstPosition: this.#batchNo * this.job.batch_rows,
      plays: this.#plays,
      skipped: this.#skipped,
      rejected: this.#rejected,
      bytesRead: this.#bytesRead,
    };
    [this.#plays, this.#skipped, this.#rejected, this.#records] = [[], [], [], 0];
    return batch;
  }

  async #settle(): Promise<void> {
    const result = await this.#writing;
    this.#writing = null;
    if (result === null) return;
    if ("error" in result) throw result.error;
    if (result.outcome.outcome === "stopped") this.#stopped = result.outcome;
  }

  async #markedBatches(): Promise<Map<number, number>> {
    const found = await this.deps.pool.query<{ batch_no: number; read: number }>(
      "select batch_no, read from import_batches where job_id = $1 and part_no = $2",
      [this.job.id, this.part.part_no],
    );
    return new Map(found.rows.map((row) => [row.batch_no, row.read]));
  }
}

/**
 * False when the job is not this run's any more, or another run has settled the part: one that was taken for dead must
 * not open it again, for nobody would wait for it to close it.
 */
async function beginPart(deps: StepsDependencies, ref: RunRef, partNo: number): Promise<boolean> {
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

/** Settles the part, unless the job is not this run's any more; returns its counts. */
async function settlePart(
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
        where id = $1 and attempt = $2 and status in ('running', 'cancelling') returning id
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
