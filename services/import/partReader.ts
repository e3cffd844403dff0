/**
 * Reads one part: stream, parse, judge, batch, commit. Reading is one batch ahead of writing. Where batches end, and
 * why, is in docs/adr/0010.
 */
import type { Readable } from "node:stream";
import { createJudge } from "./judge.js";
import type { Judge } from "./judge.js";
import type { JobRow, PartRow } from "./jobs.js";
import type { EndTurn } from "./pace.js";
import { rejectedOf } from "./partState.js";
import { readRecords } from "./reading/records.js";
import type { StepContext, StepsDependencies } from "./stepContext.js";
import type { ImportFormat, JudgeRecord } from "./types.js";
import { ImportError } from "./verdicts.js";
import type { ImportErrorCode } from "./verdicts.js";
import type { BatchOutcome, JudgedBatch } from "./writing/batch.js";
import { BatchBuilder } from "./writing/BatchBuilder.js";
import type { Marker } from "./writing/BatchBuilder.js";
import { BatchCommitter } from "./writing/BatchCommitter.js";
import type { CatalogueResolver } from "./writing/resolver.js";

export interface PartReaderDependencies extends StepsDependencies {
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
  readonly #judge: Judge;
  #bytesRead = 0;
  /** The batch being written while the next is read. Never rejects; its error is thrown by `#settle`. */
  #writing: Promise<{ outcome: BatchOutcome } | { error: unknown }> | null = null;
  #stopped: Stopped | null = null;

  constructor(
    private readonly deps: PartReaderDependencies,
    private readonly job: JobRow,
    private readonly part: PartRow,
    private readonly format: ImportFormat,
    judgeRecord: JudgeRecord,
    private readonly context: StepContext,
  ) {
    this.#committer = new BatchCommitter({
      pool: deps.pool,
      dryRun: job.dry_run,
      ...(deps.onCommit === undefined ? {} : { onCommit: deps.onCommit }),
    });
    this.#judge = createJudge(format, judgeRecord, { job, part, log: context.log });
  }

  /**
   * Returns null at the end of the file, the error that ended the reading of it before, or why the job must not go
   * on. Throws ImportError too: `storage_lost`, and `resource_limit` for an import with too many rejected records.
   */
  async run(stream: Readable): Promise<null | ImportError | Stopped> {
    try {
      await this.#refuseHopeless();
      const batches = await this.#batches();
      const broken = await this.#read(stream, batches);
      if (this.#stopped === null && (broken === null || FIXED_BY_BYTES.has(broken.code))) {
        await this.#flush(batches);
        // Its batches would no longer be the same rows.
        if (batches.isMarked) throw new ImportError("storage_lost", "The stored upload has changed");
      }
      await this.#settle();
      return this.#stopped ?? broken;
    } finally {
      stream.destroy();
      // Whatever happened, no batch may be in flight when the step is over.
      await this.#writing;
    }
  }

  async #read(stream: Readable, batches: BatchBuilder): Promise<ImportError | null> {
    const { signal } = this.context;
    const options = { format: this.format, recordMaxBytes: this.deps.limits.recordMaxBytes, signal };
    let turn = await this.#turn();
    try {
      for await (const chunk of readRecords(stream, options)) {
        this.context.heartbeat({
          part: this.part.part_no,
          batch: batches.batchNo,
          bytes: this.#bytesRead,
        });
        for (const record of chunk.records) {
          if (batches.isMarked) batches.pass();
          else batches.add(this.#judge(record));
          if (!batches.isFull) continue;
          await this.#flush(batches);
          // While turns are taken, nothing of this part goes on outside of its own.
          if (turn !== null) await this.#settle();
          if (this.#stopped !== null) return null;
          signal.throwIfAborted();
          turn?.();
          turn = await this.#turn();
        }
        this.#bytesRead = chunk.bytesRead;
      }
      return null;
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ImportError && error.code !== "storage_lost") return error;
      throw error;
    } finally {
      turn?.();
    }
  }

  /** For one batch; null when none is needed. */
  async #turn(): Promise<EndTurn | null> {
    return (await this.deps.pace?.turn()) ?? null;
  }

  /** Waits for the batch before, then starts writing the one that was just read. */
  async #flush(batches: BatchBuilder): Promise<void> {
    const batch = batches.take(this.#bytesRead);
    const readAt = performance.now();
    await this.#settle();
    if (batch === null || this.#stopped !== null) return;
    this.#writing = this.#write(batch, readAt).then(
      (outcome) => ({ outcome }),
      (error: unknown) => ({ error }),
    );
  }

  async #write(batch: JudgedBatch, readAt: number): Promise<BatchOutcome> {
    const outcome = await this.#committer.commit(batch, this.deps.resolver);
    if (outcome.outcome !== "committed") return outcome;
    const { counts, reasons } = outcome;
    this.deps.observer.batchCommitted({
      format: this.format.name,
      dryRun: this.job.dry_run,
      counts,
      reasons,
      seconds: (performance.now() - readAt) / 1000,
    });
    if (counts.rejected > 0) await this.#refuseHopeless();
    return outcome;
  }

  async #settle(): Promise<void> {
    const result = await this.#writing;
    this.#writing = null;
    if (result === null) return;
    if ("error" in result) throw result.error;
    if (result.outcome.outcome === "stopped") this.#stopped = result.outcome;
  }

  /** Whole batches only: what is in is in, and the limit is passed by no more than what was under way. */
  async #refuseHopeless(): Promise<void> {
    const { maxRejected } = this.deps.limits;
    if ((await rejectedOf(this.deps.pool, this.job.id)) <= maxRejected) return;
    throw new ImportError(
      "resource_limit",
      `More than ${maxRejected} records of this import could not be read; the rest of this file was not looked at`,
    );
  }

  async #batches(): Promise<BatchBuilder> {
    const markers = await this.deps.pool.query<Marker>(
      `select batch_no as "batchNo", first_position as "firstPosition", read
         from import_batches where job_id = $1 and part_no = $2 order by batch_no`,
      [this.job.id, this.part.part_no],
    );
    const { id: jobId, user_id: userId, attempt, batch_rows: rows } = this.job;
    const part = { jobId, userId, attempt, partNo: this.part.part_no };
    return new BatchBuilder(part, { rows, chars: this.deps.limits.batchChars }, markers.rows);
  }
}
