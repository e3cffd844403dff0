/** The row of an import and the few statements that every side of it shares. */
import type { Pool, PoolClient } from "pg";
import {
  IMPORT_STATUSES,
  type ImportStatus,
  OPEN_IMPORT_STATUSES as OPEN_STATUSES,
  type PartStatus,
} from "../../db/models/enums.js";
import { PARSER_VERSION } from "./types.js";
import { ImportError } from "./verdicts.js";

export { IMPORT_STATUSES, OPEN_STATUSES };
export type { ImportStatus, PartStatus };

/** Work may still be under way for such a job; one in any other status is closed. */
export const isOpen = (status: ImportStatus): boolean => OPEN_STATUSES.some((open) => open === status);

/** As stored in import_jobs.options; every key is there. */
export interface ImportOptions {
  /** A family (`spotify-extended`) or a provider (`spotify`); null: every known format in the upload. */
  readonly source: string | null;
  /** ISO 8601, `Z`. Plays that start before `from`, or at `until` or later, are skipped; null: no bound. */
  readonly from: string | null;
  readonly until: string | null;
  /** False: plays in a private session are skipped. */
  readonly includeIncognito: boolean;
}

/** Options as a job has them, whatever version of playlog accepted it. */
export const optionsOf = (job: Pick<JobRow, "options">): ImportOptions => ({
  source: job.options.source ?? null,
  from: job.options.from ?? null,
  until: job.options.until ?? null,
  includeIncognito: job.options.includeIncognito ?? false,
});

export interface JobRow {
  readonly id: string;
  readonly user_id: string;
  /** Whose sync it is; null of a file, and once the connection is gone. */
  readonly connection_id: string | null;
  readonly kind: "file" | "sync";
  readonly status: ImportStatus;
  readonly source: string | null;
  readonly sources: string[];
  readonly filename: string | null;
  readonly size_bytes: number | null;
  readonly sha256: Buffer | null;
  readonly blob_key: string | null;
  readonly dry_run: boolean;
  readonly options: Partial<ImportOptions>;
  readonly batch_rows: number;
  readonly parser_version: number | null;
  readonly attempt: number;
  readonly workflow_id: string;
  readonly waiting_reason: string | null;
  readonly waiting_until: Date | null;
  readonly parked_at: Date | null;
  readonly error_code: string | null;
  readonly error_message: string | null;
  readonly totals: Totals | null;
  readonly version: number;
  readonly start_attempts: number;
  readonly created_at: Date;
  readonly started_at: Date | null;
  readonly finished_at: Date | null;
  readonly blob_delete_after: Date | null;
}

export interface PartRow {
  readonly job_id: string;
  readonly part_no: number;
  readonly name: string;
  readonly format: string | null;
  readonly status: PartStatus;
  readonly bytes_total: number;
  readonly bytes_read: number;
  readonly error_code: string | null;
  readonly error_message: string | null;
  readonly read: number;
  readonly inserted: number;
  readonly duplicate: number;
  readonly skipped: number;
  readonly rejected: number;
  readonly linked: number;
  readonly lost_attempts: number;
}

/** import_jobs.totals, and the same figures while a job runs. `linked` is a part of inserted. */
export interface Totals {
  readonly counts: {
    readonly read: number;
    readonly inserted: number;
    readonly duplicate: number;
    readonly skipped: number;
    readonly rejected: number;
    readonly linked: number;
  };
  readonly reasons: {
    readonly duplicate: Readonly<Record<string, number>>;
    readonly skipped: Readonly<Record<string, number>>;
    readonly rejected: Readonly<Record<string, number>>;
  };
}

/** One run of a job. */
export interface RunRef {
  readonly importId: string;
  readonly attempt: number;
}

/** This run has nothing to do any more: the job is closed, or belongs to a newer attempt. */
export class JobClosedError extends Error {
  constructor(readonly ref: RunRef) {
    super(`Import ${ref.importId} is not open for attempt ${ref.attempt}`);
    this.name = "JobClosedError";
  }
}

/** Steps that only look, or settle what they have done, take a pause for no reason to give up. */
const UNDER_WAY: ReadonlySet<ImportStatus> = new Set(["running", "paused", "cancelling"]);

/**
 * Passes when the job is this run's, under way or paused, and read by the parsers that began it.
 * Throws `ImportError` (`owner_gone`, `parser_changed`) or `JobClosedError`.
 */
export function assertOpen(job: JobRow | undefined, ref: RunRef): asserts job is JobRow {
  if (job === undefined) throw new ImportError("owner_gone");
  if (job.attempt !== ref.attempt || !UNDER_WAY.has(job.status)) throw new JobClosedError(ref);
  if (job.parser_version !== PARSER_VERSION) throw new ImportError("parser_changed");
}

type Client = Pick<Pool | PoolClient, "query">;

const JOB_COLUMNS = `id, user_id, connection_id, kind, status, source, sources, filename, size_bytes, sha256, blob_key, dry_run, options,
  batch_rows, parser_version, attempt, workflow_id, waiting_reason, waiting_until, parked_at, error_code, error_message,
  totals, version, start_attempts, created_at, started_at, finished_at, blob_delete_after`;

const PART_COLUMNS = `job_id, part_no, name, format, status, bytes_total, bytes_read, error_code, error_message, read,
  inserted, duplicate, skipped, rejected, linked, lost_attempts`;

export async function findJob(client: Client, id: string): Promise<JobRow | undefined> {
  return (await client.query<JobRow>(`select ${JOB_COLUMNS} from import_jobs where id = $1`, [id])).rows[0];
}

/** True when nothing is left for this run: its job is closed or gone, or belongs to a newer attempt. */
export async function runIsOver(client: Client, { importId, attempt }: RunRef): Promise<boolean> {
  const job = await findJob(client, importId);
  return job?.attempt !== attempt || !isOpen(job.status);
}

/** Holds the row until the transaction ends: batches that are about to commit wait, later ones see what changed. */
export async function lockJob(client: PoolClient, id: string): Promise<JobRow | undefined> {
  const found = await client.query<JobRow>(
    `select ${JOB_COLUMNS} from import_jobs where id = $1 for no key update`,
    [id],
  );
  return found.rows[0];
}

/** Newest first, strictly older than `before`. */
export async function jobsOfUser(
  client: Client,
  userId: string,
  limit: number,
  before: { readonly createdAt: string; readonly id: string } | null,
): Promise<(JobRow & { readonly cursor_at: string })[]> {
  const found = await client.query<JobRow & { cursor_at: string }>(
    // The text keeps microseconds, which a Date would lose and the next page with them.
    `select ${JOB_COLUMNS}, to_char(created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as cursor_at
       from import_jobs
      where user_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::uuid))
      order by created_at desc, id desc
      limit $4`,
    [userId, before?.createdAt ?? null, before?.id ?? null, limit],
  );
  return found.rows;
}

export async function findPart(client: Client, id: string, partNo: number): Promise<PartRow | undefined> {
  const found = await client.query<PartRow>(
    `select ${PART_COLUMNS} from import_parts where job_id = $1 and part_no = $2`,
    [id, partNo],
  );
  return found.rows[0];
}

/** All parts of the given jobs, in order. */
export async function partsOf(client: Client, ids: readonly string[]): Promise<PartRow[]> {
  const found = await client.query<PartRow>(
    `select ${PART_COLUMNS} from import_parts where job_id = any($1) order by job_id, part_no`,
    [ids],
  );
  return found.rows;
}
