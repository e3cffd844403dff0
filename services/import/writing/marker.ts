/** The marker of a batch: that it is in, and what became of each of its records. */
import type { PoolClient } from "pg";
import { duplicateReasonByNumber, SKIP_REASONS } from "../verdicts.js";
import { readOf } from "./batch.js";
import type { Counts, JudgedBatch, ReasonCounts } from "./batch.js";
import type { Claims } from "./plays.js";

/**
 * Another attempt at the same part ended its batches elsewhere, because a setting was changed. Reading the part once
 * more helps: it begins with the markers that are there.
 */
export class BordersMovedError extends Error {
  constructor() {
    super("Another attempt has ended its batches at other records");
    this.name = "BordersMovedError";
  }
}

/**
 * First of all writes: a twin of this batch waits here until the other has committed or rolled back. False when the
 * batch is in. Throws `BordersMovedError` when another batch is in under its number.
 */
export async function insertMarker(client: PoolClient, batch: JudgedBatch): Promise<boolean> {
  const marked = await client.query(
    `insert into import_batches (job_id, part_no, batch_no, read, inserted, duplicate, skipped, rejected, reasons,
       claimed_ids, claimed_positions, claimed_reasons, skipped_positions, skipped_reasons, first_position)
     values ($1, $2, $3, 0, 0, 0, 0, 0, '{}', '{}', '{}', '{}', '{}', '{}', $4)
     on conflict (job_id, part_no, batch_no) do nothing`,
    [batch.jobId, batch.partNo, batch.batchNo, batch.firstPosition],
  );
  if (marked.rowCount === 1) return true;
  const found = await client.query<{ first_position: number; read: number }>(
    "select first_position, read from import_batches where job_id = $1 and part_no = $2 and batch_no = $3",
    [batch.jobId, batch.partNo, batch.batchNo],
  );
  const marker = found.rows[0];
  if (marker?.first_position !== batch.firstPosition || marker.read !== readOf(batch))
    throw new BordersMovedError();
  return false;
}

const arrayText = (numbers: readonly number[]): string => `{${numbers.join(",")}}`;

/** `claimed`: least and greatest play this batch claims; null when it claims none. */
export async function completeMarker(
  client: PoolClient,
  batch: JudgedBatch,
  claims: Claims,
  { counts, reasons }: { readonly counts: Counts; readonly reasons: ReasonCounts },
  claimed: { readonly from: number; readonly to: number } | null,
): Promise<void> {
  await client.query(
    `update import_batches
        set read = $4, inserted = $5, duplicate = $6, skipped = $7, rejected = $8, reasons = $9,
            claimed_ids = $10, claimed_positions = $11, claimed_reasons = $12,
            skipped_positions = $13, skipped_reasons = $14, claimed_from = $15, claimed_to = $16
      where job_id = $1 and part_no = $2 and batch_no = $3`,
    [
      batch.jobId,
      batch.partNo,
      batch.batchNo,
      counts.read,
      counts.inserted,
      counts.duplicate,
      counts.skipped,
      counts.rejected,
      reasons,
      arrayText(claims.ids),
      arrayText(claims.positions),
      arrayText(claims.reasons),
      arrayText(batch.skipped.map((row) => row.position)),
      arrayText(batch.skipped.map((row) => SKIP_REASONS[row.reason].number)),
      claimed?.from ?? null,
      claimed?.to ?? null,
    ],
  );
}

/** Least and greatest play among the claims; null when there is none. */
export function claimedRange({ ids }: Claims): { from: number; to: number } | null {
  let from = Infinity;
  let to = 0;
  for (const id of ids) {
    if (id !== 0 && id < from) from = id;
    if (id > to) to = id;
  }
  return to === 0 ? null : { from, to };
}

export function countsOf(batch: JudgedBatch, claims: Claims): Counts {
  const inserted = claims.reasons.filter((reason) => reason === 0).length;
  return {
    read: readOf(batch),
    inserted,
    duplicate: claims.reasons.length - inserted,
    skipped: batch.skipped.length,
    rejected: batch.rejected.length,
  };
}

export function reasonsOf(batch: JudgedBatch, claims: Claims): ReasonCounts {
  return {
    duplicate: tally(claims.reasons.filter((n) => n !== 0).map((n) => duplicateReasonByNumber.get(n)!)),
    skipped: tally(batch.skipped.map((row) => row.reason)),
    rejected: tally(batch.rejected.map((row) => row.reason)),
  };
}

function tally(reasons: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const reason of reasons) counts[reason] = (counts[reason] ?? 0) + 1;
  return counts;
}
