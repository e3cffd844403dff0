/** An import as its owner sees it: the one shape of every answer about it. */
import type { Pool } from "pg";
import type { ImportOptions, ImportStatus, JobRow, PartRow, PartStatus, Totals } from "./jobs.js";
import { isOpen, optionsOf, partsOf } from "./jobs.js";
import { countsOf, progressOf, reasonsOf } from "./progress.js";
import type { Progress } from "./progress.js";
import { inTransaction } from "../../db/transaction.js";

/** Unknown fields are null, never left out. */
export interface ImportJobView {
  readonly id: string;
  readonly kind: "file" | "sync";
  readonly status: ImportStatus;
  /** What the client asked for; null: every known format in the upload. */
  readonly source: string | null;
  /** Families found in the upload. */
  readonly sources: readonly string[];
  readonly filename: string | null;
  readonly sizeBytes: number | null;
  /** Hexadecimal. */
  readonly sha256: string | null;
  readonly dryRun: boolean;
  readonly options: ImportOptions;
  readonly counts: Totals["counts"];
  readonly skipped: Readonly<Record<string, number>>;
  readonly rejected: Readonly<Record<string, number>>;
  readonly duplicate: Readonly<Record<string, number>>;
  readonly progress: Progress;
  readonly parts: readonly ImportPartView[];
  readonly waiting: { readonly reason: string; readonly until: Date | null } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly workflowId: string;
  /** Grows with every visible change. */
  readonly version: number;
  readonly createdAt: Date;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
}

export interface ImportPartView {
  readonly name: string;
  readonly format: string | null;
  readonly status: PartStatus;
  readonly counts: Totals["counts"];
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** Files of all imports on one page; more only when the first import of the page has more. About 2 MB as JSON. */
const PAGE_MAX_PARTS = 10_000;

/**
 * The first of these jobs, as many as fit on one page with all their parts, and at least one. An archive may hold
 * thousands of files and a page hundreds of imports: a short page with a cursor to the next is the better answer.
 */
export async function firstThatFit<J extends Pick<JobRow, "id">>(
  pool: Pool,
  jobs: readonly J[],
): Promise<J[]> {
  const { rows } = await pool.query<{ fitting: number }>({
    name: "jobs-that-fit",
    text: `
      select count(*)::bigint as fitting from (
        select sum(p.parts) over (order by j.place) as parts
          from unnest($1::uuid[]) with ordinality as j (id, place)
         cross join lateral (select count(*) as parts from import_parts where job_id = j.id) p
      ) page
       where parts <= $2`,
    values: [jobs.map(({ id }) => id), PAGE_MAX_PARTS],
  });
  return jobs.slice(0, Math.max(1, rows[0]?.fitting ?? 0));
}

/** Views of jobs, in the given order; a few statements whatever their number. */
export async function viewsOf(pool: Pool, jobs: readonly JobRow[]): Promise<ImportJobView[]> {
  if (jobs.length === 0) return [];
  const parts = new Map<string, PartRow[]>(jobs.map((job) => [job.id, []]));
  const live = jobs.filter((job) => job.totals === null).map((job) => job.id);
  const [found, reasons] = await inTransaction(pool, async (client) => {
    // One snapshot: a batch that is committed in between must not be in the reasons and not in the counts.
    await client.query("set transaction isolation level repeatable read, read only");
    return [await partsOf(client, [...parts.keys()]), await reasonsOf(client, live)] as const;
  });
  for (const part of found) parts.get(part.job_id)?.push(part);
  return jobs.map((job) => {
    const own = parts.get(job.id) ?? [];
    const totals = job.totals ?? { counts: countsOf(own), reasons: reasons.get(job.id)! };
    return viewOf(job, own, totals);
  });
}

function viewOf(job: JobRow, parts: readonly PartRow[], totals: Totals): ImportJobView {
  return {
    id: job.id,
    kind: job.kind,
    status: job.status,
    source: job.source,
    sources: job.sources,
    filename: job.filename,
    sizeBytes: job.size_bytes,
    sha256: job.sha256?.toString("hex") ?? null,
    dryRun: job.dry_run,
    options: optionsOf(job),
    counts: totals.counts,
    skipped: totals.reasons.skipped,
    rejected: totals.reasons.rejected,
    duplicate: totals.reasons.duplicate,
    progress: progressOf(job, parts),
    parts: parts.map((part) => ({
      name: part.name,
      format: part.format,
      status: part.status,
      counts: countsOf([part]),
      error: errorOf(part.error_code, part.error_message),
    })),
    waiting: waitingOf(job),
    error: errorOf(job.error_code, job.error_message),
    workflowId: job.workflow_id,
    version: job.version,
    createdAt: job.created_at,
    startedAt: job.started_at,
    finishedAt: job.finished_at,
  };
}

function waitingOf(job: JobRow): ImportJobView["waiting"] {
  if (job.status === "paused") return { reason: "paused_by_user", until: null };
  const underWay = isOpen(job.status) || job.status === "undoing";
  return underWay && job.waiting_reason !== null
    ? { reason: job.waiting_reason, until: job.waiting_until }
    : null;
}

const errorOf = (code: string | null, message: string | null) =>
  code === null ? null : { code, message: message ?? code };
