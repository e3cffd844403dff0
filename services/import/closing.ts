/** The end of an import: its status, its totals, and how long the upload is kept. The one place that closes jobs. */
import type { PoolClient } from "pg";
import type { ImportStatus, JobRow } from "./jobs.js";
import { partsOf } from "./jobs.js";
import type { ImportObserver } from "./observer.js";
import { countsOf, reasonsOf } from "./progress.js";
import { IMPORT_ERRORS } from "./verdicts.js";

export type Ending =
  | { readonly outcome: "completed" }
  | { readonly outcome: "cancelled" }
  | { readonly outcome: "failed"; readonly code: string; readonly message: string };

/** What became of the job, for whoever counts; to be told once it is committed. */
export type ClosedJob = Parameters<ImportObserver["jobClosed"]>[0];

/**
 * Closes a job that `lockJob` holds in the same transaction, so that no batch is in flight. An ending of
 * `completed` becomes `completed_with_errors` when a part failed or a record was rejected, and `failed` when the
 * counts disagree: an import whose ledger does not add up is never called complete.
 */
export async function closeJob(
  client: PoolClient,
  job: JobRow,
  ending: Ending,
  keepDays: number,
): Promise<ClosedJob> {
  if (ending.outcome !== "completed") {
    // What is not settled is what a retry has to do.
    await client.query("update import_parts set status = 'queued' where job_id = $1 and status = 'running'", [
      job.id,
    ]);
  }
  const parts = await partsOf(client, [job.id]);
  const totals = {
    counts: countsOf(parts),
    reasons: (await reasonsOf(client, [job.id])).get(job.id)!,
  };
  const judged = judge(ending, {
    addsUp: await addsUp(client, job.id),
    unsettled: parts.some((part) => part.status === "queued" || part.status === "running"),
    withErrors: totals.counts.rejected > 0 || parts.some((part) => part.status === "failed"),
  });
  const closed = await client.query<{ seconds: number | null }>(
    `update import_jobs
        set status = $2, error_code = $3, error_message = $4, totals = $5, finished_at = now(), version = version + 1,
            next_start_at = null, waiting_reason = null, waiting_until = null, parked_at = null,
            blob_delete_after = case when blob_key is null then null else now() + make_interval(days => $6) end
      where id = $1
      returning extract(epoch from now() - started_at)::float8 as seconds`,
    [job.id, judged.status, judged.code, judged.message, totals, keepDays],
  );
  const { status, code } = judged;
  const provider = job.kind === "sync" && job.source !== null ? { provider: job.source } : {};
  return { kind: job.kind, status, code, seconds: closed.rows[0]?.seconds ?? null, ...provider };
}

function judge(
  ending: Ending,
  facts: { readonly addsUp: boolean; readonly unsettled: boolean; readonly withErrors: boolean },
): { status: ImportStatus; code: string | null; message: string | null } {
  if (ending.outcome === "failed") return { status: "failed", code: ending.code, message: ending.message };
  if (!facts.addsUp || (ending.outcome === "completed" && facts.unsettled))
    return { status: "failed", code: "ledger_mismatch", message: IMPORT_ERRORS.ledger_mismatch };
  if (ending.outcome === "cancelled") return { status: "cancelled", code: null, message: null };
  return { status: facts.withErrors ? "completed_with_errors" : "completed", code: null, message: null };
}

/**
 * True when every part's counts are those of its batches. That the verdicts add up to `read`, and that a batch lists
 * every record it counts, are CHECKs of the tables.
 */
async function addsUp(client: PoolClient, jobId: string): Promise<boolean> {
  const found = await client.query<{ wrong: number }>(
    `with batches as (
       select part_no, sum(read) as read, sum(inserted) as inserted, sum(duplicate) as duplicate,
              sum(skipped) as skipped, sum(rejected) as rejected
         from import_batches where job_id = $1 group by part_no
     )
     select count(*)::bigint as wrong
       from import_parts p left join batches b using (part_no)
      where p.job_id = $1
        and (p.read, p.inserted, p.duplicate, p.skipped, p.rejected) is distinct from
            (coalesce(b.read, 0), coalesce(b.inserted, 0), coalesce(b.duplicate, 0), coalesce(b.skipped, 0),
             coalesce(b.rejected, 0))`,
    [jobId],
  );
  return found.rows[0]?.wrong === 0;
}
