/**
 * Commits one batch in one transaction: marker, plays, claims, ledger and counters, or nothing. A batch that is
 * committed twice, at once or after a crash, has its effect once: the marker's key decides. See docs/adr/0007.
 */
import type { Pool, PoolClient } from "pg";
import { duplicateReasonByNumber, SKIP_REASONS } from "../verdicts.js";
import type { BatchOutcome, Counts, JudgedBatch, PlayRecord, ReasonCounts, RejectedRecord } from "./batch.js";
import { readOf } from "./batch.js";
import { copyInto, copyRow } from "./copyText.js";
import { ensureStaging, writePlays } from "./plays.js";
import type { Claims, PlacedPlay } from "./plays.js";
import type { CatalogueResolver } from "./resolver.js";
import { complaintOf, inTransaction, isolateRefused, refusalOf } from "./transaction.js";

/** Skipped rows beyond this many of a job are kept as position and reason only. */
export const SKIPPED_ROWS_KEPT = 100_000;
/** A twin of this batch, stalled in its transaction, is waited for no longer than this. */
const LOCK_TIMEOUT_MS = 15_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;
const MAX_REPAIRS = 3;

export type CommitMoment = "before-commit" | "after-commit";

export interface BatchCommitterOptions {
  readonly pool: Pool;
  /** Called around each COMMIT; tests stop the process here. */
  readonly onCommit?: (batch: JudgedBatch, moment: CommitMoment) => void;
}

/** Thrown to leave a transaction that must not write. */
class Stop extends Error {
  constructor(readonly result: BatchOutcome) {
    super("stop");
  }
}

export class BatchCommitter {
  constructor(private readonly options: BatchCommitterOptions) {}

  /**
   * Throws what the connection throws: whether the batch was committed is then unknown, and calling again with
   * the same batch is the way to find out.
   */
  async commit(batch: JudgedBatch, resolver: CatalogueResolver): Promise<BatchOutcome> {
    let current = batch;
    for (let repairs = 0; ; repairs += 1) {
      const placed = await this.#place(current, resolver);
      current = placed.batch;
      try {
        const outcome = await this.#write(current, placed.plays);
        if (outcome.outcome === "committed") this.options.onCommit?.(current, "after-commit");
        return outcome;
      } catch (error) {
        const refusal = refusalOf(error);
        if (refusal === "owner") return { outcome: "stopped", why: "owner_gone" };
        if (refusal === null || repairs >= MAX_REPAIRS) throw error;
        if (refusal === "catalogue") resolver.forget();
        else current = await this.#withoutRefused(current, placed.plays, error);
      }
    }
  }

  /** Plays whose texts the catalogue refuses are rejected here. */
  async #place(
    batch: JudgedBatch,
    resolver: CatalogueResolver,
  ): Promise<{ batch: JudgedBatch; plays: PlacedPlay[] }> {
    const { ids, refused } = await resolver.resolve(batch.plays.map(({ play }) => play));
    const plays = batch.plays.flatMap((record, index): PlacedPlay[] => {
      const found = ids[index];
      return found === undefined ? [] : [{ ...record, ids: found }];
    });
    if (refused.size === 0) return { batch, plays };
    const causes = new Map([...refused].map(([index, cause]) => [batch.plays[index]!.position, cause]));
    return { batch: rejectPlays(batch, causes), plays };
  }

  /** Tries ever smaller runs of plays in a transaction that is always rolled back. */
  async #withoutRefused(
    batch: JudgedBatch,
    plays: readonly PlacedPlay[],
    error: unknown,
  ): Promise<JudgedBatch> {
    const { userId, jobId } = batch;
    const refused = await isolateRefused(plays, async (run) => {
      const rollback = new Stop({ outcome: "already" });
      try {
        await this.#transaction(async (client) => {
          await writePlays(client, { userId, jobId }, run);
          throw rollback;
        });
      } catch (cause) {
        if (cause !== rollback) throw cause;
      }
    });
    if (refused.size === 0) throw error; // it was not a play that was refused
    return rejectPlays(batch, new Map([...refused].map(([play, cause]) => [play.position, cause])));
  }

  async #write(batch: JudgedBatch, plays: readonly PlacedPlay[]): Promise<BatchOutcome> {
    try {
      return await this.#transaction(async (client) => {
        await lockUser(client, batch.userId);
        await insertMarker(client, batch);
        await checkJob(client, batch);
        const claims = await writePlays(client, batch, plays);
        const counts = countsOf(batch, claims);
        await keepRows(client, batch);
        await completeMarker(client, batch, claims, counts);
        await advanceJob(client, batch, counts);
        this.options.onCommit?.(batch, "before-commit");
        return { outcome: "committed", counts };
      });
    } catch (error) {
      if (error instanceof Stop) return error.result;
      throw error;
    }
  }

  async #transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    return inTransaction(this.options.pool, work, ensureStaging);
  }
}

function rejectPlays(batch: JudgedBatch, causes: ReadonlyMap<number, unknown>): JudgedBatch {
  const rejected = batch.plays
    .filter((record) => causes.has(record.position))
    .map((record): RejectedRecord => ({
      position: record.position,
      reason: "database",
      message: complaintOf(causes.get(record.position)),
      excerpt: excerptOfPlay(record),
    }));
  return {
    ...batch,
    plays: batch.plays.filter((record) => !causes.has(record.position)),
    rejected: [...batch.rejected, ...rejected].sort((a, b) => a.position - b.position),
  };
}

/** The raw record is not kept this far; what was understood of it serves as well. */
function excerptOfPlay({ play }: PlayRecord): string {
  const { artist, title, album, playedAt, msPlayed } = play;
  const text = JSON.stringify({ artist, title, album, playedAt: new Date(playedAt).toISOString(), msPlayed });
  return text.length > 1000 ? `${text.slice(0, 1000)}…` : text;
}

/**
 * Whoever removes plays (delete, undo, erase) takes this lock exclusively: between looking for a play and
 * claiming it, none may vanish.
 */
async function lockUser(client: PoolClient, userId: string): Promise<void> {
  await client.query(
    `select set_config('lock_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $3, true),
            pg_advisory_xact_lock_shared(hashtextextended('playlog user ' || $1::text, 0))`,
    [userId, String(LOCK_TIMEOUT_MS), String(IDLE_IN_TRANSACTION_TIMEOUT_MS)],
  );
}

/** First of all writes: a twin of this batch waits here until the other has committed or rolled back. */
async function insertMarker(client: PoolClient, batch: JudgedBatch): Promise<void> {
  const marked = await client.query(
    `insert into import_batches (job_id, part_no, batch_no, read, inserted, duplicate, skipped, rejected, reasons,
       claimed_ids, claimed_positions, claimed_reasons, skipped_positions, skipped_reasons, first_position)
     values ($1, $2, $3, 0, 0, 0, 0, 0, '{}', '{}', '{}', '{}', '{}', '{}', $4)
     on conflict (job_id, part_no, batch_no) do nothing`,
    [batch.jobId, batch.partNo, batch.batchNo, batch.firstPosition],
  );
  if (marked.rowCount === 0) throw new Stop({ outcome: "already" });
}

/** Saves the work when the answer is no already; `advanceJob` asks again, then for good. */
async function checkJob(client: PoolClient, { jobId, attempt }: JudgedBatch): Promise<void> {
  const found = await client.query<{ status: string; attempt: number }>(
    "select status, attempt from import_jobs where id = $1",
    [jobId],
  );
  const job = found.rows[0];
  if (job === undefined) throw new Stop({ outcome: "stopped", why: "owner_gone" });
  if (job.attempt !== attempt) throw new Stop({ outcome: "stopped", why: "closed" });
  if (job.status === "cancelling" || job.status === "paused")
    throw new Stop({ outcome: "stopped", why: job.status });
  if (job.status !== "running") throw new Stop({ outcome: "stopped", why: "closed" });
}

async function keepRows(client: PoolClient, batch: JudgedBatch): Promise<void> {
  const skipped = batch.skipped.slice(0, await roomForSkipped(client, batch));
  const rows = [
    ...skipped.map((row) => ({ ...row, verdict: "skipped" })),
    ...batch.rejected.map((row) => ({ ...row, verdict: "rejected" })),
  ];
  if (rows.length === 0) return;
  await copyInto(
    client,
    "import_rows (job_id, part_no, position, verdict, reason, message, excerpt)",
    rows.map((row) =>
      copyRow([
        batch.jobId,
        batch.partNo,
        row.position,
        row.verdict,
        row.reason,
        withoutNul(row.message),
        row.excerpt === null ? null : withoutNul(row.excerpt),
      ]),
    ),
  );
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

const arrayText = (numbers: readonly number[]): string => `{${numbers.join(",")}}`;

async function completeMarker(
  client: PoolClient,
  batch: JudgedBatch,
  claims: Claims,
  counts: Counts,
): Promise<void> {
  await client.query(
    `update import_batches
        set read = $4, inserted = $5, duplicate = $6, skipped = $7, rejected = $8, reasons = $9,
            claimed_ids = $10, claimed_positions = $11, claimed_reasons = $12,
            skipped_positions = $13, skipped_reasons = $14
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
      reasonsOf(batch, claims),
      arrayText(claims.ids),
      arrayText(claims.positions),
      arrayText(claims.reasons),
      arrayText(batch.skipped.map((row) => row.position)),
      arrayText(batch.skipped.map((row) => SKIP_REASONS[row.reason].number)),
    ],
  );
}

/**
 * Last of all writes. Whoever closes a job locks its row, so a batch is either counted by them or does not
 * happen. A cancel or a pause asked for meanwhile does not undo the batch: it takes effect at the next one.
 */
async function advanceJob(client: PoolClient, batch: JudgedBatch, counts: Counts): Promise<void> {
  const advanced = await client.query(
    `update import_jobs set version = version + 1
      where id = $1 and attempt = $2 and status in ('running', 'cancelling', 'paused')`,
    [batch.jobId, batch.attempt],
  );
  if (advanced.rowCount === 0) throw new Stop({ outcome: "stopped", why: "closed" });
  await client.query(
    `update import_parts
        set read = read + $3, inserted = inserted + $4, duplicate = duplicate + $5, skipped = skipped + $6,
            rejected = rejected + $7, bytes_read = greatest(bytes_read, $8)
      where job_id = $1 and part_no = $2`,
    [
      batch.jobId,
      batch.partNo,
      counts.read,
      counts.inserted,
      counts.duplicate,
      counts.skipped,
      counts.rejected,
      batch.bytesRead,
    ],
  );
}

function countsOf(batch: JudgedBatch, claims: Claims): Counts {
  const inserted = claims.reasons.filter((reason) => reason === 0).length;
  return {
    read: readOf(batch),
    inserted,
    duplicate: claims.reasons.length - inserted,
    skipped: batch.skipped.length,
    rejected: batch.rejected.length,
  };
}

function reasonsOf(batch: JudgedBatch, claims: Claims): ReasonCounts {
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
