/** How far an import is and what became of its rows, from the tables the batches write. */
import type { Pool, PoolClient } from "pg";
import type { JobRow, PartRow, Totals } from "./jobs.js";
import { isOpen } from "./jobs.js";

export interface Progress {
  /** 0-100; 100 only when the import is over and every file was read. */
  readonly percent: number;
  /** Unpacked bytes of the files that hold plays. */
  readonly bytesRead: number;
  readonly bytesTotal: number;
  readonly partsDone: number;
  readonly partsTotal: number;
}

/** Parts whose format is not imported count as settled from the start and bring no bytes. */
export function progressOf(job: Pick<JobRow, "status" | "error_code">, parts: readonly PartRow[]): Progress {
  const relevant = parts.filter((part) => part.status !== "skipped");
  const settled = parts.filter((part) => ["done", "skipped", "failed"].includes(part.status));
  const bytesTotal = sum(relevant, (part) => part.bytes_total);
  const bytesRead = sum(relevant, (part) =>
    part.status === "done" ? part.bytes_total : Math.min(part.bytes_read, part.bytes_total),
  );
  // Undoing does not change how far the import had come.
  const undone = job.status === "undoing" || job.status === "undone";
  const complete =
    job.status === "completed" ||
    job.status === "completed_with_errors" ||
    (undone && job.error_code === null && parts.length > 0 && settled.length === parts.length);
  const share = bytesTotal === 0 ? 0 : bytesRead / bytesTotal;
  const percent = complete ? 100 : Math.min(Math.floor(share * 100), isOpen(job.status) ? 99 : 100);
  return { percent, bytesRead, bytesTotal, partsDone: settled.length, partsTotal: parts.length };
}

export function countsOf(parts: readonly PartRow[]): Totals["counts"] {
  return {
    read: sum(parts, (part) => part.read),
    inserted: sum(parts, (part) => part.inserted),
    duplicate: sum(parts, (part) => part.duplicate),
    skipped: sum(parts, (part) => part.skipped),
    rejected: sum(parts, (part) => part.rejected),
    linked: sum(parts, (part) => part.linked),
  };
}

type Reasons = { [V in keyof Totals["reasons"]]: Record<string, number> };
const noReasons = (): Reasons => ({ duplicate: {}, skipped: {}, rejected: {} });

/** Counts by verdict and reason of many jobs at once, summed from the markers of their batches. */
export async function reasonsOf(
  client: Pick<Pool | PoolClient, "query">,
  jobIds: readonly string[],
): Promise<Map<string, Totals["reasons"]>> {
  const result = new Map(jobIds.map((id) => [id, noReasons()]));
  if (jobIds.length === 0) return result;
  const found = await client.query<{
    job_id: string;
    verdict: keyof Reasons;
    reason: string;
    count: number;
  }>(
    `select b.job_id, v.key as verdict, r.key as reason, sum(r.value::bigint)::bigint as count
       from import_batches b
       cross join lateral jsonb_each(b.reasons) v
       cross join lateral jsonb_each_text(v.value) r
      where b.job_id = any($1)
      group by 1, 2, 3
      order by 1, 2, 3`,
    [jobIds],
  );
  for (const { job_id, verdict, reason, count } of found.rows) result.get(job_id)![verdict][reason] = count;
  return result;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
