/** Every record that became no play of its own, with file, position and reason, read batch by batch. */
import type { Pool } from "pg";
import {
  DUPLICATE_REASONS,
  duplicateReasonByNumber,
  REJECT_REASONS,
  SKIP_REASONS,
  skipReasonByNumber,
} from "./verdicts.js";

export const LEDGER_VERDICTS = ["duplicate", "skipped", "rejected"] as const;
export type LedgerVerdict = (typeof LEDGER_VERDICTS)[number];

/** All reasons a filter takes, of all verdicts. */
export const LEDGER_REASONS: readonly string[] = [
  ...new Set([
    ...Object.keys(DUPLICATE_REASONS),
    ...Object.keys(SKIP_REASONS),
    ...Object.keys(REJECT_REASONS),
  ]),
];

export interface LedgerRow {
  /** Name of the file inside the upload. */
  readonly part: string;
  /** 0-based index of the record in its file. */
  readonly position: number;
  readonly verdict: LedgerVerdict;
  readonly reason: string;
  readonly message: string;
  /** The raw record without personal fields, at most 1 KB; null for duplicates and where none was kept. */
  readonly excerpt: string | null;
  /** The play that a duplicate repeats; null when its owner deleted it, and for other verdicts. */
  readonly listenId: number | null;
}

export interface LedgerFilter {
  readonly verdict?: LedgerVerdict | undefined;
  readonly reason?: string | undefined;
}

/** A place in the ledger: rows after it come next. */
export interface LedgerPlace {
  readonly partNo: number;
  readonly position: number;
}

export type PlacedLedgerRow = LedgerRow & { readonly place: LedgerPlace };

interface BatchRow {
  readonly part_no: number;
  readonly batch_no: number;
  readonly name: string;
  readonly claimed_ids: number[];
  readonly claimed_positions: number[];
  readonly claimed_reasons: number[];
  readonly skipped_positions: number[];
  readonly skipped_reasons: number[];
}

/**
 * Rows in order of file and position. Reads one batch at a time and only batches with something to show, so
 * taking a page costs a page, and taking all of it no memory.
 */
export async function* ledgerRows(
  pool: Pool,
  job: { readonly id: string; readonly batch_rows: number },
  filter: LedgerFilter,
  after: LedgerPlace | null,
): AsyncGenerator<PlacedLedgerRow> {
  let from = {
    partNo: after?.partNo ?? 0,
    batchNo: after === null ? 0 : Math.floor(after.position / job.batch_rows),
  };
  for (;;) {
    const batch = await nextBatch(pool, job.id, filter, from);
    if (batch === undefined) return;
    for (const row of await rowsOf(pool, job, batch)) {
      const passed =
        after !== null && row.place.partNo === after.partNo && row.place.position <= after.position;
      if (passed || (filter.verdict !== undefined && row.verdict !== filter.verdict)) continue;
      if (filter.reason !== undefined && row.reason !== filter.reason) continue;
      yield row;
    }
    from = { partNo: batch.part_no, batchNo: batch.batch_no + 1 };
  }
}

async function nextBatch(
  pool: Pool,
  jobId: string,
  { verdict, reason }: LedgerFilter,
  from: { readonly partNo: number; readonly batchNo: number },
): Promise<BatchRow | undefined> {
  const found = await pool.query<BatchRow>(
    `select b.part_no, b.batch_no, p.name, b.claimed_ids, b.claimed_positions, b.claimed_reasons, b.skipped_positions,
            b.skipped_reasons
       from import_batches b
       join import_parts p on p.job_id = b.job_id and p.part_no = b.part_no
      where b.job_id = $1 and (b.part_no, b.batch_no) >= ($2, $3)
        and exists (
          select 1 from jsonb_each(b.reasons) v
           where v.key = coalesce($4, v.key)
             and case when $5::text is null then v.value <> '{}' else v.value ? $5 end
        )
      order by b.part_no, b.batch_no
      limit 1`,
    [jobId, from.partNo, from.batchNo, verdict ?? null, reason ?? null],
  );
  return found.rows[0];
}

async function rowsOf(
  pool: Pool,
  job: { readonly id: string; readonly batch_rows: number },
  batch: BatchRow,
): Promise<PlacedLedgerRow[]> {
  const { part_no: partNo, name: part } = batch;
  const first = batch.batch_no * job.batch_rows;
  const kept = await pool.query<{
    position: number;
    verdict: "skipped" | "rejected";
    reason: string;
    message: string;
    excerpt: string | null;
  }>(
    `select position, verdict, reason, message, excerpt from import_rows
      where job_id = $1 and part_no = $2 and position >= $3 and position < $4 order by position`,
    [job.id, partNo, first, first + job.batch_rows],
  );
  const rows = kept.rows.map((row): PlacedLedgerRow => {
    return { ...row, part, listenId: null, place: { partNo, position: row.position } };
  });
  const withText = new Set(kept.rows.map((row) => row.position));
  batch.skipped_positions.forEach((position, index) => {
    if (withText.has(position)) return;
    const reason = skipReasonByNumber.get(batch.skipped_reasons[index]!)!;
    const { sentence } = SKIP_REASONS[reason];
    rows.push({
      part,
      position,
      verdict: "skipped",
      reason,
      message: sentence,
      excerpt: null,
      listenId: null,
      place: { partNo, position },
    });
  });
  batch.claimed_positions.forEach((position, index) => {
    const reason = duplicateReasonByNumber.get(batch.claimed_reasons[index]!);
    if (reason === undefined) return; // inserted
    const listenId = batch.claimed_ids[index]!;
    rows.push({
      part,
      position,
      verdict: "duplicate",
      reason,
      message: DUPLICATE_REASONS[reason].sentence,
      excerpt: null,
      listenId: listenId === 0 ? null : listenId,
      place: { partNo, position },
    });
  });
  return rows.sort((a, b) => a.position - b.position);
}
