/** Reads one part: stream, parse, judge, batch, commit. Reading is one batch ahead of writing. */
import type { Readable } from "node:stream";
import type { JobRow, PartRow } from "./jobs.js";
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

export interface PartDependencies extends StepsDependencies {
  /** Shared by all parts of the process: files of one export hold the same tracks. */
  readonly resolver: CatalogueResolver;
}

/** Why a part must not go on. */
export type Stopped = Extract<BatchOutcome, { outcome: "stopped" }>;

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

export class PartReader {
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
