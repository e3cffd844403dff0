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
  /** The play that a duplicate repeats; null when that is gone (deleted, or undone), and for other verdicts. */
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
  readonly name: string;
  readonly first_position: number;
  readonly read: number;
  readonly claimed_ids: number[];
  readonly claimed_positions: number[];
  readonly claimed_reasons: number[];
  readonly skipped_positions: number[];
  readonly skipped_reasons: number[];
}

/** Positions whose texts are fetched at once: each may be a kilobyte, and a page rarely needs a whole batch of them. */
const WINDOW = 1000;
/** Before the first record of the first part. */
const BEGINNING: LedgerPlace = { partNo: 0, position: -1 };

/**
 * Rows in order of file and position. Reads one batch at a time, only batches with something to show and only texts
 * after the place, so taking a page costs little more than a page, and taking all of it no memory.
 */
export async function* ledgerRows(
  pool: Pool,
  job: { readonly id: string },
  filter: LedgerFilter,
  after: LedgerPlace | null,
): AsyncGenerator<PlacedLedgerRow> {
  let place = after ?? BEGINNING;
  for (;;) {
    const batch = await nextBatch(pool, job.id, filter, place);
    if (batch === undefined) return;
    const { part_no: partNo, first_position: first } = batch;
    const last = first + batch.read - 1;
    const listed = listedRows(batch, filter);
    let from = partNo === place.partNo ? Math.max(first, place.position + 1) : first;
    for (; from <= last; from += WINDOW) {
      const window = { from, to: Math.min(from + WINDOW - 1, last) };
      const kept = await keptRows(pool, job.id, batch, filter, window);
      yield* await withStandingPlays(pool, merged(listed, kept, window));
    }
    place = { partNo, position: last };
  }
}

/** The first batch that reaches beyond the place and has something to show. */
async function nextBatch(
  pool: Pool,
  jobId: string,
  { verdict, reason }: LedgerFilter,
  place: LedgerPlace,
): Promise<BatchRow | undefined> {
  const found = await pool.query<BatchRow>(
    `select b.part_no, p.name, b.first_position, b.read, b.claimed_ids, b.claimed_positions, b.claimed_reasons,
            b.skipped_positions, b.skipped_reasons
       from import_batches b
       join import_parts p on p.job_id = b.job_id and p.part_no = b.part_no
      where b.job_id = $1 and b.part_no >= $2
        and (b.part_no > $2 or b.first_position::bigint + b.read - 1 > $3)
        and exists (
          select 1 from jsonb_each(b.reasons) v
           where v.key = coalesce($4, v.key)
             and case when $5::text is null then v.value <> '{}' else v.value ? $5 end
        )
      order by b.part_no, b.batch_no
      limit 1`,
    [jobId, place.partNo, place.position, verdict ?? null, reason ?? null],
  );
  return found.rows[0];
}

interface Window {
  readonly from: number;
  readonly to: number;
}

/** Skipped and rejected rows that have a text of their own. */
async function keptRows(
  pool: Pool,
  jobId: string,
  batch: BatchRow,
  { verdict, reason }: LedgerFilter,
  { from, to }: Window,
): Promise<PlacedLedgerRow[]> {
  if (verdict === "duplicate") return [];
  const { part_no: partNo, name: part } = batch;
  const kept = await pool.query<{
    position: number;
    verdict: "skipped" | "rejected";
    reason: string;
    message: string;
    excerpt: string | null;
  }>(
    `select position, verdict, reason, message, excerpt from import_rows
      where job_id = $1 and part_no = $2 and position between $3 and $4
        and verdict = coalesce($5, verdict) and reason = coalesce($6, reason)
      order by position`,
    [jobId, partNo, from, to, verdict ?? null, reason ?? null],
  );
  return kept.rows.map((row) => ({
    ...row,
    part,
    listenId: null,
    place: { partNo, position: row.position },
  }));
}

/** Rows that are numbers in the marker of their batch, with the sentence of their reason; in order of position. */
function listedRows(batch: BatchRow, filter: LedgerFilter): PlacedLedgerRow[] {
  const rows: PlacedLedgerRow[] = [];
  const add = (
    position: number,
    row: Pick<LedgerRow, "verdict" | "reason" | "message" | "listenId">,
  ): void => {
    if (filter.verdict !== undefined && row.verdict !== filter.verdict) return;
    if (filter.reason !== undefined && row.reason !== filter.reason) return;
    rows.push({
      part: batch.name,
      position,
      excerpt: null,
      place: { partNo: batch.part_no, position },
      ...row,
    });
  };
  batch.skipped_positions.forEach((position, index) => {
    const reason = skipReasonByNumber.get(batch.skipped_reasons[index]!)!;
    add(position, { verdict: "skipped", reason, message: SKIP_REASONS[reason].sentence, listenId: null });
  });
  batch.claimed_positions.forEach((position, index) => {
    const reason = duplicateReasonByNumber.get(batch.claimed_reasons[index]!);
    if (reason === undefined) return; // inserted
    const listenId = batch.claimed_ids[index]!;
    const { sentence: message } = DUPLICATE_REASONS[reason];
    add(position, { verdict: "duplicate", reason, message, listenId: listenId === 0 ? null : listenId });
  });
  return rows.sort((a, b) => a.position - b.position);
}

/** Both in one order; a skipped row that was kept with its text is shown with it. */
function merged(
  listed: readonly PlacedLedgerRow[],
  kept: readonly PlacedLedgerRow[],
  { from, to }: Window,
): PlacedLedgerRow[] {
  const withText = new Set(kept.map((row) => row.position));
  const others = listed.filter(
    ({ position }) => position >= from && position <= to && !withText.has(position),
  );
  return [...kept, ...others].sort((a, b) => a.position - b.position);
}

/** What a record stood for when it was read may be gone since. */
async function withStandingPlays(
  pool: Pool,
  rows: readonly PlacedLedgerRow[],
): Promise<readonly PlacedLedgerRow[]> {
  const ids = rows.flatMap(({ listenId }) => (listenId === null ? [] : [listenId]));
  if (ids.length === 0) return rows;
  const found = await pool.query<{ id: number }>(
    "select id from listening_history where id = any($1::bigint[])",
    [ids],
  );
  const standing = new Set(found.rows.map(({ id }) => id));
  return rows.map((row) =>
    row.listenId === null || standing.has(row.listenId) ? row : { ...row, listenId: null },
  );
}
