/**
 * Commits one batch in one transaction: marker, plays, claims, ledger and counters, or nothing. A batch that is
 * committed twice, at once or after a crash, has its effect once: the marker's key decides. See docs/adr/0007.
 */
import type { Pool, PoolClient } from "pg";
import { USER_PLAYS_LOCK } from "../../../db/advisoryLocks.js";
import { announceChange, historyOf } from "../../../db/queries/cacheVersions.js";
import { inTransaction } from "../../../db/transaction.js";
import { SHARE_CATALOGUE } from "../../catalog/lock.js";
import type { BatchOutcome, Counts, JudgedBatch, PlayRecord, RejectedRecord } from "./batch.js";
import { judgeDryPlays } from "./dryPlays.js";
import { keepRows } from "./keptRows.js";
import { claimedRange, completeMarker, countsOf, insertMarker, reasonsOf } from "./marker.js";
import { writePlays } from "./plays.js";
import type { Claims, PlacedPlay } from "./plays.js";
import type { CatalogueResolver } from "./resolver.js";
import { complaintOf, isolateRefused, refusalOf } from "./refusals.js";

/** A twin of this batch, stalled in its transaction, is waited for no longer than this. */
const LOCK_TIMEOUT_MS = 15_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;
/** Merges can move what a batch was placed in, one after the other. */
const MAX_REPAIRS = 10;

export type CommitMoment = "before-commit" | "after-commit";

/** What is to be in with the batch, or not at all. Throwing leaves nothing of either. */
export type InSameTransaction = (client: PoolClient) => Promise<void>;

export interface BatchCommitterOptions {
  readonly pool: Pool;
  /** Everything is done and written down but the plays themselves, and their places in the catalogue. */
  readonly dryRun?: boolean;
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
   * the same batch is the way to find out. `also` is not called for a batch that is in already.
   */
  async commit(
    batch: JudgedBatch,
    resolver: CatalogueResolver,
    also?: InSameTransaction,
  ): Promise<BatchOutcome> {
    try {
      const outcome =
        this.options.dryRun === true
          ? await this.#write(batch, (client) => judgeDryPlays(client, batch, batch.plays), also)
          : await this.#commitPlays(batch, resolver, also);
      if (outcome.outcome === "committed") this.options.onCommit?.(batch, "after-commit");
      return outcome;
    } catch (error) {
      if (refusalOf(error) !== "owner") throw error;
      return { outcome: "stopped", why: "owner_gone" };
    }
  }

  async #commitPlays(
    batch: JudgedBatch,
    resolver: CatalogueResolver,
    also?: InSameTransaction,
  ): Promise<BatchOutcome> {
    let current = batch;
    for (let repairs = 0; ; repairs += 1) {
      const placed = await this.#place(current, resolver);
      current = placed.batch;
      try {
        return await this.#write(current, (client) => writePlays(client, batch, placed.plays), also);
      } catch (error) {
        const refusal = refusalOf(error);
        if ((refusal !== "catalogue" && refusal !== "value") || repairs >= MAX_REPAIRS) throw error;
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
        await inTransaction(this.options.pool, async (client) => {
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

  async #write(
    batch: JudgedBatch,
    claim: (client: PoolClient) => Promise<Claims>,
    also?: InSameTransaction,
  ): Promise<BatchOutcome> {
    const write = async (client: PoolClient): Promise<BatchOutcome> => {
      await lockUser(client, batch.userId);
      if (!(await insertMarker(client, batch))) throw new Stop({ outcome: "already" });
      await checkJob(client, batch);
      const claims = await claim(client);
      const result = { counts: countsOf(batch, claims), reasons: reasonsOf(batch, claims) };
      await keepRows(client, batch);
      // A dry run says which plays it found, but has no claim on them.
      const claimed = this.options.dryRun === true ? null : claimedRange(claims);
      await completeMarker(client, batch, claims, result, claimed);
      const changed = this.options.dryRun !== true && result.counts.inserted > 0;
      await also?.(client);
      await advanceJob(client, batch, result.counts, changed);
      if (changed) await announceChange(client, historyOf(batch.userId));
      this.options.onCommit?.(batch, "before-commit");
      return { outcome: "committed", ...result };
    };
    try {
      return await inTransaction(this.options.pool, write);
    } catch (error) {
      if (error instanceof Stop) return error.result;
      throw error;
    }
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
 * Both shared. Whoever removes plays (delete, undo, erase) takes the user's alone, and whoever renames or merges what
 * they are plays of takes the catalogue's.
 */
async function lockUser(client: PoolClient, userId: string): Promise<void> {
  await client.query(
    `select set_config('lock_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $3, true),
            pg_advisory_xact_lock_shared(${USER_PLAYS_LOCK}), ${SHARE_CATALOGUE}`,
    [userId, String(LOCK_TIMEOUT_MS), String(IDLE_IN_TRANSACTION_TIMEOUT_MS)],
  );
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

/**
 * Last of all writes. Whoever closes a job locks its row, so a batch is either counted by them or does not
 * happen. A cancel or a pause asked for meanwhile does not undo the batch: it takes effect at the next one.
 */
async function advanceJob(
  client: PoolClient,
  batch: JudgedBatch,
  counts: Counts,
  toLink: boolean,
): Promise<void> {
  const advanced = await client.query(
    `update import_jobs
        set version = version + 1, waiting_until = null,
            waiting_reason = case when status = 'paused' then waiting_reason end, link_pending = link_pending or $3
      where id = $1 and attempt = $2 and status in ('running', 'cancelling', 'paused')`,
    [batch.jobId, batch.attempt, toLink],
  );
  if (advanced.rowCount === 0) throw new Stop({ outcome: "stopped", why: "closed" });
  await client.query(
    `update import_parts
        set read = read + $3, inserted = inserted + $4, duplicate = duplicate + $5, skipped = skipped + $6,
            rejected = rejected + $7, bytes_read = greatest(bytes_read, $8), lost_attempts = 0
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
