/** Imports, for the api: accept an upload, look, and control it. The work itself is done by the steps, elsewhere. */
import { createHash } from "node:crypto";
import type { Pool } from "pg";
import type { Logger } from "../../utils/logger.js";
import { UnauthorizedError } from "../../utils/errors.js";
import { decodeCursor, encodeCursor, isPositionNumber, isPositionTime } from "../../utils/pagination.js";
import { UUID_PATTERN, uuidv7 } from "../../utils/uuid.js";
import { importWorkflowId } from "../../workflows/contracts.js";
import type { BlobStore, StoredBlob } from "../storage/BlobStore.js";
import {
  cancelJob,
  noSuchImport,
  pauseJob,
  resumeJob,
  retryJob,
  START_GRACE_SECONDS,
  undoJob,
} from "./control.js";
import type { ImportQueue } from "./ImportQueue.js";
import { findJob, jobsOfUser, OPEN_STATUSES } from "./jobs.js";
import type { ImportOptions, JobRow } from "./jobs.js";
import { ledgerRows } from "./ledger.js";
import type { LedgerFilter, LedgerRow } from "./ledger.js";
import { enqueueJob, enqueueUndo } from "./starting.js";
import { firstThatFit, viewsOf } from "./views.js";
import type { ImportJobView } from "./views.js";

export interface ImportServiceDependencies {
  readonly pool: Pool;
  readonly queue: ImportQueue;
  readonly blobs: BlobStore;
  readonly log: Logger;
  /** Records per batch of jobs accepted from now on. */
  readonly batchRows: number;
  readonly blobKeepDays: number;
}

export interface AcceptedUpload {
  readonly userId: string;
  readonly kind: "file";
  readonly filename: string | null;
  readonly blob: StoredBlob;
  /** Only say what would become of each record; write no play. */
  readonly dryRun: boolean;
  readonly options: ImportOptions;
}

export interface Page<T> {
  readonly data: T[];
  readonly nextCursor: string | null;
}

/** `changed` is false when what was asked for was so already. */
export interface Changed {
  readonly job: ImportJobView;
  readonly changed: boolean;
}

const JOBS = "imports";
const ROWS = "import-rows";
/** Of columns of type integer. */
const MAX_INTEGER = 2 ** 31 - 1;

export class ImportService {
  constructor(private readonly deps: ImportServiceDependencies) {}

  /**
   * Makes a job of a stored upload and starts it. Durable once it resolves, whatever the queue says: a start that
   * failed is made up for later. The same upload by the same user, while the first is open, is the first: then
   * `created` is false and the second blob is deleted. Throws `UnauthorizedError` when the account was erased meanwhile.
   */
  async accept(upload: AcceptedUpload): Promise<{ job: ImportJobView; created: boolean }> {
    const optionsHash = createHash("sha256").update(canonical(upload)).digest();
    for (;;) {
      const id = await this.#insert(upload, optionsHash);
      if (id !== null) {
        const job = await findJob(this.deps.pool, id);
        if (job === undefined) throw new UnauthorizedError();
        // The one line that ties the request to the import; from here on the logs name the import.
        this.deps.log.info("import accepted", { importId: id, workflowId: job.workflow_id });
        await enqueueJob(this.deps, job);
        return { job: await this.find(upload.userId, id), created: true };
      }
      const open = await this.deps.pool.query<{ id: string }>(
        `select id from import_jobs
          where user_id = $1 and sha256 = $2 and options_hash = $3 and status = any($4::import_status[])`,
        [upload.userId, upload.blob.sha256, optionsHash, OPEN_STATUSES],
      );
      const first = open.rows[0];
      if (first === undefined) continue; // it was closed a moment ago: this upload is a new one
      await this.deps.blobs.delete(upload.blob.key);
      return { job: await this.find(upload.userId, first.id), created: false };
    }
  }

  /** Throws `NotFoundError`, for a stranger's import too. */
  async find(userId: string, id: string): Promise<ImportJobView> {
    const [view] = await viewsOf(this.deps.pool, [await this.#own(userId, id)]);
    return view!;
  }

  /** Newest first; fewer than `limit` when they have very many files. */
  async list(
    userId: string,
    { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
  ): Promise<Page<ImportJobView>> {
    const before = cursor === undefined ? null : decodeCursor(JOBS, cursor, readJobPlace);
    const jobs = await jobsOfUser(this.deps.pool, userId, limit + 1, before);
    const page = await firstThatFit(this.deps.pool, jobs.slice(0, limit));
    const last = page.at(-1);
    const nextCursor =
      jobs.length > page.length && last !== undefined ? encodeCursor(JOBS, [last.cursor_at, last.id]) : null;
    return { data: await viewsOf(this.deps.pool, page), nextCursor };
  }

  /** Duplicates, skipped and rejected records in order of file and position. */
  async rows(
    userId: string,
    id: string,
    query: LedgerFilter & { readonly limit: number; readonly cursor?: string | undefined },
  ): Promise<Page<LedgerRow>> {
    const job = await this.#own(userId, id);
    const after =
      query.cursor === undefined ? null : decodeCursor(`${ROWS}:${id}`, query.cursor, readRowPlace);
    const data: LedgerRow[] = [];
    let last: readonly [number, number] | null = null;
    for await (const { place, ...row } of ledgerRows(this.deps.pool, job, query, after)) {
      if (data.length === query.limit)
        return { data, nextCursor: last === null ? null : encodeCursor(`${ROWS}:${id}`, last) };
      data.push(row);
      last = [place.partNo, place.position];
    }
    return { data, nextCursor: null };
  }

  /**
   * All rows of the ledger, for an export of any size. Throws `NotFoundError` before the first row.
   */
  async allRows(userId: string, id: string, filter: LedgerFilter): Promise<AsyncGenerator<LedgerRow>> {
    const job = await this.#own(userId, id);
    return withoutPlace(ledgerRows(this.deps.pool, job, filter, null));
  }

  /** `changed` is false when it is cancelled already, or being cancelled. Throws `NotFoundError`, `ConflictError`. */
  async cancel(userId: string, id: string): Promise<Changed> {
    const { effect, attempt } = await cancelJob(this.deps.pool, userId, id, this.deps.blobKeepDays);
    if (effect !== "already") {
      // When it cannot be told: the row says it, the work looks there at its next batch border, the reconciler asks again.
      await this.#tell(id, () => this.deps.queue.requestCancel({ importId: id, attempt }));
    }
    return { job: await this.find(userId, id), changed: effect !== "already" };
  }

  /** `changed` is false when it was paused already. Throws `NotFoundError`, `ConflictError`. */
  async pause(userId: string, id: string): Promise<Changed> {
    const { changed, attempt } = await pauseJob(this.deps.pool, userId, id);
    if (changed) await this.#tell(id, () => this.deps.queue.setPaused({ importId: id, attempt }, true));
    return { job: await this.find(userId, id), changed };
  }

  /** `changed` is false when it is queued or running. Throws `NotFoundError`, `ConflictError`. */
  async resume(userId: string, id: string): Promise<Changed> {
    const { changed, attempt } = await resumeJob(this.deps.pool, userId, id);
    if (changed) {
      const told = await this.#tell(id, () => this.deps.queue.setPaused({ importId: id, attempt }, false));
      // Paused before it could be started, or the queue has lost it since.
      if (told === "missing") await enqueueJob(this.deps, await this.#own(userId, id));
    }
    return { job: await this.find(userId, id), changed };
  }

  /** `changed` is false when it is queued or running. Throws `NotFoundError`, `ConflictError`. */
  async retry(userId: string, id: string): Promise<Changed> {
    const { effect } = await retryJob(this.deps.pool, userId, id);
    if (effect === "queued") await enqueueJob(this.deps, await this.#own(userId, id));
    return { job: await this.find(userId, id), changed: effect === "queued" };
  }

  /** `changed` is false when it is undone, or being undone. Throws `NotFoundError`, `ConflictError`. */
  async undo(userId: string, id: string): Promise<Changed> {
    const { changed } = await undoJob(this.deps.pool, userId, id);
    if (changed) await enqueueUndo(this.deps, await this.#own(userId, id));
    return { job: await this.find(userId, id), changed };
  }

  /** Null when the queue does not answer: the row is what counts, and the reconciler looks after it. */
  async #tell<T>(importId: string, what: () => Promise<T>): Promise<T | null> {
    try {
      return await what();
    } catch (error) {
      this.deps.log.warn("the queue could not be told of a change", { importId, error });
      return null;
    }
  }

  async #own(userId: string, id: string): Promise<JobRow> {
    const job = await findJob(this.deps.pool, id);
    if (job === undefined || job.user_id !== userId) throw noSuchImport();
    return job;
  }

  /** Null when the same upload is open. */
  async #insert(upload: AcceptedUpload, optionsHash: Buffer): Promise<string | null> {
    const id = uuidv7();
    const inserted = await this.deps.pool.query(
      `insert into import_jobs (id, user_id, kind, source, filename, size_bytes, sha256, blob_key, dry_run, options,
         options_hash, batch_rows, workflow_id, start_attempts, next_start_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1, now() + make_interval(secs => $14))
       on conflict (user_id, sha256, options_hash) where status in ('queued', 'running', 'paused', 'cancelling')
       do nothing`,
      [
        id,
        upload.userId,
        upload.kind,
        upload.options.source,
        upload.filename,
        upload.blob.sizeBytes,
        upload.blob.sha256,
        upload.blob.key,
        upload.dryRun,
        upload.options,
        optionsHash,
        this.deps.batchRows,
        importWorkflowId(id, 1),
        START_GRACE_SECONDS,
      ],
    );
    return inserted.rowCount === 1 ? id : null;
  }
}

/** What is asked of the upload; keys in order, so that equal options are equal text. */
function canonical({ dryRun, options }: Pick<AcceptedUpload, "dryRun" | "options">): string {
  return JSON.stringify(Object.entries({ ...options, dryRun }).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function* withoutPlace(rows: AsyncIterable<LedgerRow & { place: unknown }>): AsyncGenerator<LedgerRow> {
  for await (const { place: _place, ...row } of rows) yield row;
}

function readJobPlace(parts: readonly unknown[]): { createdAt: string; id: string } | null {
  const [createdAt, id] = parts;
  return isPositionTime(createdAt) && typeof id === "string" && UUID_PATTERN.test(id)
    ? { createdAt, id }
    : null;
}

function readRowPlace(parts: readonly unknown[]): { partNo: number; position: number } | null {
  const [partNo, position] = parts;
  return isPositionNumber(partNo, MAX_INTEGER) && isPositionNumber(position, MAX_INTEGER)
    ? { partNo, position }
    : null;
}
