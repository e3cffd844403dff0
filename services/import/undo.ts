/**
 * Takes back what an import brought: the plays that no other import claims are deleted, the rest go to the oldest of
 * those that do. Works batch by batch, each in a transaction of its own, and may be run any number of times: what a
 * batch has left to take back, the plays themselves say. See docs/adr/0009.
 */
import type { PoolClient } from "pg";
import { USER_PLAYS_LOCK } from "../../db/advisoryLocks.js";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { inTransaction } from "../../db/transaction.js";
import { keysOfLinked, relinkKeys } from "../history/linking/relink.js";
import { findJob, JobClosedError, lockJob } from "./jobs.js";
import type { JobRow } from "./jobs.js";
import type { StepContext, StepsDependencies } from "./stepContext.js";
import { ImportError } from "./verdicts.js";

export interface Undone {
  /** Plays deleted by this run of the step. */
  readonly removed: number;
  /** Plays that another import claims too, given to it by this run. */
  readonly handedOver: number;
}

/** A batch that is being written holds the lock for about a second. */
const LOCK_TIMEOUT_MS = 15_000;

interface BatchKey {
  readonly part_no: number;
  readonly batch_no: number;
}

/**
 * Closes the job as `undone`. Counts and ledger stay, as a record of what it once brought. Throws `ImportError`
 * (`owner_gone`), `JobClosedError` when it is not being undone, the signal's reason between two batches.
 */
export async function undoImport(
  deps: StepsDependencies,
  importId: string,
  context: StepContext,
): Promise<Undone> {
  let [removed, handedOver] = [0, 0];
  const job = await findJob(deps.pool, importId);
  if (!stillUndoing(job, importId)) return { removed, handedOver };
  // No batch can be added: one that is about to commit finds the job closed.
  const batches = await deps.pool.query<BatchKey>(
    "select part_no, batch_no from import_batches where job_id = $1 order by part_no, batch_no",
    [importId],
  );
  for (const [index, batch] of batches.rows.entries()) {
    context.signal.throwIfAborted();
    context.heartbeat({ batch: index, batches: batches.rows.length, removed, handedOver });
    const taken = await takeBack(deps, job, batch);
    removed += taken.removed;
    handedOver += taken.handedOver;
  }
  await closeAsUndone(deps, job);
  return { removed, handedOver };
}

async function takeBack(deps: StepsDependencies, job: JobRow, batch: BatchKey): Promise<Undone> {
  return inTransaction(deps.pool, async (client) => {
    await lockPlaysAlone(client, job.user_id);
    if (!stillUndoing(await findJob(client, job.id), job.id)) return { removed: 0, handedOver: 0 };
    const own = await playsOf(client, job, batch);
    if (own.length === 0) return { removed: 0, handedOver: 0 };
    const heirs = await heirsOf(client, job, own);
    await handOver(client, heirs);
    const orphans = own.filter((id) => !heirs.has(id));
    const linked = await keysOfLinked(client, orphans);
    await client.query("delete from listening_history where id = any($1::bigint[])", [orphans]);
    await relinkKeys(client, job.user_id, linked); // what they led needs another leader, and may fit other plays now
    await announceChange(client, historyOf(job.user_id));
    return { removed: orphans.length, handedOver: heirs.size };
  });
}

/** Waits for batches under way and holds up new ones, so that no claim can come between looking and deleting. */
export async function lockPlaysAlone(client: PoolClient, userId: string): Promise<void> {
  await client.query(
    `select set_config('lock_timeout', $2, true), pg_advisory_xact_lock(${USER_PLAYS_LOCK})`,
    [userId, String(LOCK_TIMEOUT_MS)],
  );
}

/** The plays of a batch that are this import's, whether it brought them or was left them by another. */
async function playsOf(client: PoolClient, job: JobRow, { part_no, batch_no }: BatchKey): Promise<number[]> {
  const found = await client.query<[number]>({
    text: `
      select p.id
        from (select distinct unnest(claimed_ids) as id from import_batches
               where job_id = $1 and part_no = $2 and batch_no = $3) claimed
        cross join lateral (
          select id from listening_history where id = claimed.id and import_job_id = $1 limit 1
        ) p`,
    values: [job.id, part_no, batch_no],
    rowMode: "array",
  });
  return found.rows.map(([id]) => id);
}

/**
 * The oldest other import that claims each of these plays, for those that have one. A dry run claims nothing, nor does
 * an import that is undone or being undone; one that is running does. Ranges first, so that few arrays are opened.
 */
async function heirsOf(
  client: PoolClient,
  job: JobRow,
  plays: readonly number[],
): Promise<Map<number, string>> {
  const least = plays.reduce((a, b) => Math.min(a, b));
  const greatest = plays.reduce((a, b) => Math.max(a, b));
  const found = await client.query<[number, string]>({
    text: `
      select distinct on (claimed.id) claimed.id, j.id
        from import_jobs j
        join import_batches b on b.job_id = j.id
        cross join lateral unnest(b.claimed_ids) as claimed (id)
       where j.user_id = $1 and j.id <> $2 and not j.dry_run and j.status not in ('undoing', 'undone')
         and b.claimed_from <= $4 and b.claimed_to >= $3
         and claimed.id = any($5::bigint[])
       order by claimed.id, j.created_at, j.id`,
    values: [job.user_id, job.id, least, greatest, plays],
    rowMode: "array",
  });
  return new Map(found.rows);
}

async function handOver(client: PoolClient, heirs: ReadonlyMap<number, string>): Promise<void> {
  for (const heir of new Set(heirs.values())) {
    const plays = [...heirs].filter(([, its]) => its === heir).map(([play]) => play);
    await client.query(
      `update listening_history set import_job_id = $1, version = version + 1, updated_at = now()
        where id = any($2::bigint[])`,
      [heir, plays],
    );
  }
}

async function closeAsUndone(deps: StepsDependencies, { id }: JobRow): Promise<void> {
  const closed = await inTransaction(deps.pool, async (client) => {
    const job = await lockJob(client, id);
    if (!stillUndoing(job, id)) return null;
    await client.query("delete from import_dry_keys where job_id = $1", [id]);
    await client.query(
      `update import_jobs
          set status = 'undone', finished_at = now(), version = version + 1, link_pending = false,
              blob_delete_after = case when blob_key is null then null else now() + make_interval(days => $2) end
        where id = $1`,
      [id, deps.blobKeepDays],
    );
    return job;
  });
  if (closed === null) return;
  deps.observer.jobClosed({ kind: closed.kind, status: "undone", code: null, seconds: null });
}

/** False when another run of this step has come to the end. Throws as `undoImport`. */
function stillUndoing(job: JobRow | undefined, importId: string): job is JobRow {
  if (job === undefined) throw new ImportError("owner_gone");
  if (job.status === "undone") return false;
  if (job.status !== "undoing") throw new JobClosedError({ importId, attempt: job.attempt });
  return true;
}
