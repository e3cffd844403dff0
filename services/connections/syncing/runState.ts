/** How far a sync is, as its rows say. */
import type { Pool, PoolClient } from "pg";
import type { ConnectionProvider } from "../../../db/models/enums.js";
import { optionsOf } from "../../import/jobs.js";
import type { JobRow, RunRef } from "../../import/jobs.js";
import type { PlayRange } from "../providers/types.js";

export type Cursor = Readonly<Record<string, unknown>>;

/** What the next page is asked for with. */
export interface Place {
  readonly connectionId: string;
  readonly provider: ConnectionProvider;
  readonly cursor: Cursor | null;
  /** The job has a place of its own, and leaves that of the connection alone: a dry run, or a reading of a range. */
  readonly isOwn: boolean;
  /** Of a reading of its own. */
  readonly range: PlayRange | null;
  /** Unix milliseconds; the same each time that this page is asked for until it is in, or the provider has refused it. */
  readonly polledAt: number;
  /** Of this job, the one under way not among them. */
  readonly pages: number;
  /** Where the page's records go on in the job's only part. */
  readonly batchNo: number;
  readonly firstPosition: number;
}

type Client = Pick<Pool | PoolClient, "query">;

/**
 * Undefined when the connection is gone. Writes down when the page is asked for, before it is. `rereads`: whether what was
 * read of a provider can be read again; then the connection must not pass over what a range leaves out.
 */
export async function findPlace(
  client: Client,
  job: JobRow,
  rereads: (provider: ConnectionProvider) => boolean,
): Promise<Place | undefined> {
  const found = await client.query<{
    id: string;
    provider: ConnectionProvider;
    sync_cursor: Cursor | null;
    run_cursor: Cursor | null;
    polled_at: Date;
    pages: number;
    batches: number;
    records: number;
  }>(
    `with run as (
       insert into sync_runs as r (job_id, polled_at) values ($1, date_trunc('milliseconds', now()))
       on conflict (job_id) do update set polled_at = coalesce(r.polled_at, excluded.polled_at)
       returning r.polled_at, r.pages, r.cursor
     )
     select c.id, c.provider, c.sync_cursor, run.cursor as run_cursor, run.polled_at, run.pages, b.batches, b.records
       from run
       join connections c on c.id = $2
      cross join lateral (
        select count(*)::integer as batches, coalesce(sum(read), 0)::integer as records
          from import_batches where job_id = $1 and part_no = 0
      ) b`,
    [job.id, job.connection_id],
  );
  const row = found.rows[0];
  if (row === undefined) return undefined;
  const range = rereads(row.provider) ? rangeOf(job) : null;
  const isOwn = job.dry_run || range !== null;
  const first = range === null ? row.sync_cursor : null;
  return {
    connectionId: row.id,
    provider: row.provider,
    cursor: isOwn && row.pages > 0 ? row.run_cursor : first,
    isOwn,
    range,
    polledAt: row.polled_at.getTime(),
    pages: row.pages,
    batchNo: row.batches,
    firstPosition: row.records,
  };
}

function rangeOf(job: JobRow): PlayRange | null {
  const { from, until } = optionsOf(job);
  if (from === null && until === null) return null;
  return {
    from: from === null ? null : Date.parse(from),
    until: until === null ? null : Date.parse(until),
  };
}

/** Another run of this job, or whoever removes the connection, was quicker: look again. */
export class PlaceMovedError extends Error {
  constructor() {
    super("The sync has moved on meanwhile");
    this.name = "PlaceMovedError";
  }
}

/** In the transaction of the page that `place` was asked for with. Throws `PlaceMovedError`. */
export async function moveOn(
  client: PoolClient,
  job: JobRow,
  place: Place,
  cursor: Cursor,
  gap: { readonly from: number; readonly until: number } | null,
): Promise<void> {
  if (!place.isOwn) {
    const moved = await client.query(
      `update connections set sync_cursor = $2
        where id = $1 and sync_cursor is not distinct from $3::jsonb`,
      [place.connectionId, cursor, place.cursor],
    );
    if (moved.rowCount !== 1) throw new PlaceMovedError();
    if (gap !== null && gap.from < gap.until) {
      await client.query(
        `insert into sync_gaps as g (connection_id, gap_from, gap_until) values ($1, $2, $3)
         on conflict (connection_id, gap_from) do update set gap_until = greatest(g.gap_until, excluded.gap_until)`,
        [place.connectionId, new Date(gap.from), new Date(gap.until)],
      );
    }
  }
  const counted = await client.query(
    `update sync_runs set polled_at = null, failures = 0, pages = pages + 1, cursor = $3
      where job_id = $1 and pages = $2`,
    [job.id, place.pages, place.isOwn ? cursor : null],
  );
  if (counted.rowCount !== 1) throw new PlaceMovedError();
}

/** Shows what the run waits for, and lets the next try have a time of its own: nothing has come of this one. */
export async function noteWait(
  client: Client,
  { importId, attempt }: RunRef,
  reason: "rate_limited" | "provider_down",
  until: Date,
): Promise<void> {
  await client.query(
    `with job as (
       update import_jobs set waiting_reason = $3, waiting_until = $4, version = version + 1
        where id = $1 and attempt = $2 and status = 'running'
     )
     update sync_runs set polled_at = null where job_id = $1`,
    [importId, attempt, reason, until],
  );
}

/** Counts a try that the provider did not answer; gives how many there were in a row, this one included. */
export async function countFailure(client: Client, jobId: string): Promise<number> {
  const counted = await client.query<{ failures: number }>(
    "update sync_runs set failures = failures + 1 where job_id = $1 returning failures",
    [jobId],
  );
  return counted.rows[0]?.failures ?? 1;
}

/** For one that begins again: what the provider did not answer before does not count against it. */
export async function forgetFailures(client: Client, jobId: string): Promise<void> {
  await client.query("update sync_runs set failures = 0, polled_at = null where job_id = $1", [jobId]);
}
