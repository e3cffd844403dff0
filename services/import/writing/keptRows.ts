/** Records that became no play, kept with a sentence and their text. */
import type { PoolClient } from "pg";
import type { JudgedBatch, RejectedRecord, SkippedRecord } from "./batch.js";
import { copyInto, copyRow } from "./copyText.js";

/** Skipped rows beyond this many of a job are kept as position and reason only. */
const SKIPPED_ROWS_KEPT = 100_000;

/** Writes every rejected record of the batch, and skipped ones while the job has kept few enough. */
export async function keepRows(client: PoolClient, batch: JudgedBatch): Promise<void> {
  const room = await roomForSkipped(client, batch);
  if (room === 0 && batch.rejected.length === 0) return;
  await copyInto(
    client,
    "import_rows (job_id, part_no, position, verdict, reason, message, excerpt)",
    copyRows(batch, room),
  );
}

function* copyRows(batch: JudgedBatch, room: number): Generator<string> {
  const text = (verdict: "skipped" | "rejected", row: SkippedRecord | RejectedRecord): string =>
    copyRow([
      batch.jobId,
      batch.partNo,
      row.position,
      verdict,
      row.reason,
      withoutNul(row.message),
      row.excerpt === null ? null : withoutNul(row.excerpt),
    ]);
  for (const row of batch.skipped.slice(0, room)) yield text("skipped", row);
  for (const row of batch.rejected) yield text("rejected", row);
}

/** A part that is imported at the same moment is not seen: the limit may be passed by what is in flight. */
async function roomForSkipped(client: PoolClient, { jobId, skipped }: JudgedBatch): Promise<number> {
  if (skipped.length === 0) return 0;
  const sum = await client.query<{ skipped: number }>(
    "select coalesce(sum(skipped), 0)::bigint as skipped from import_parts where job_id = $1",
    [jobId],
  );
  return Math.max(0, SKIPPED_ROWS_KEPT - (sum.rows[0]?.skipped ?? 0));
}

const withoutNul = (text: string): string => text.replaceAll("\0", "\uFFFD");
