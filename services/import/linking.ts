/**
 * Links the plays that an import brought with those of other sources. Works page by page and batch by batch, each in a
 * transaction of its own, and may be run any number of times, also when the job is closed. See docs/adr/0022.
 */
import type { Pool, PoolClient } from "pg";
import { KEYS_AT_ONCE, relinkKeys } from "../history/linking/relink.js";
import { lockPlays } from "../history/userPlays.js";
import { lockJob } from "./jobs.js";
import type { StepContext } from "./stepContext.js";
import { inTransaction } from "../../db/transaction.js";

export interface Linked {
  /** Of the plays that the import inserted, those that are another sighting of a play. */
  readonly linked: number;
}

type Work = Pick<StepContext, "signal" | "heartbeat">;

/** A few hundred kilobytes of names at once. */
const KEYS_A_PAGE = 10_000;
/**
 * Sightings may be shown this far apart: one that was paused for a week began so long before the other that knows its end
 * alone, and one that was found in a list began at any time since the list before, a fortnight back at most.
 */
const REACH = "interval '17 days'";

/** Throws the signal's reason between two batches. */
export async function linkImport(pool: Pool, importId: string, work: Work): Promise<Linked> {
  const job = await findPending(pool, importId);
  if (job === null) return { linked: 0 };
  const several = await hasSeveralFamilies(pool, job);
  if (several) await linkPages(pool, job, work);
  return { linked: await settle(pool, job, several) };
}

interface PendingJob {
  readonly id: string;
  readonly userId: string;
  /** Plays that were in when the linking began: more of them, and it is to be done again. */
  readonly inserted: number;
}

async function findPending(pool: Pool, importId: string): Promise<PendingJob | null> {
  const { rows } = await pool.query<{ user_id: string; inserted: number }>(
    `select user_id, (select coalesce(sum(inserted), 0) from import_parts where job_id = j.id)::bigint as inserted
       from import_jobs j where id = $1 and link_pending`,
    [importId],
  );
  const [row] = rows;
  return row === undefined ? null : { id: importId, userId: row.user_id, inserted: row.inserted };
}

/**
 * Whether there is anything to link with around the time of the import's plays. One statement, which ends at the first
 * play that differs: most first imports are of one family, and theirs is all that is there.
 */
async function hasSeveralFamilies(pool: Pool, { id, userId }: PendingJob): Promise<boolean> {
  const { rows } = await pool.query<{ several: boolean }>(
    `with job as (
       select min(played_at) as first_at, max(played_at) as last_at,
              (select source from listening_history where import_job_id = $1 limit 1) as source
         from listening_history where import_job_id = $1
     )
     select exists (
       select from listening_history
        where user_id = $2 and played_at between (select first_at - ${REACH} from job) and (select last_at + ${REACH} from job)
          and source <> (select source from job)
     ) as several`,
    [id, userId],
  );
  return rows[0]!.several;
}

async function linkPages(pool: Pool, { id, userId }: PendingJob, { signal, heartbeat }: Work): Promise<void> {
  let [keysDone, changed] = [0, 0];
  for (let after: string | null = null; ;) {
    const keys: string[] = await keysOfJob(pool, id, after);
    for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
      signal.throwIfAborted();
      heartbeat({ keysDone, changed });
      const batch = keys.slice(from, from + KEYS_AT_ONCE);
      changed += await inTransaction(pool, async (client) => {
        await lockPlays(client, userId, "shared");
        return relinkKeys(client, userId, batch);
      });
      keysDone += batch.length;
    }
    if (keys.length < KEYS_A_PAGE) return;
    after = keys.at(-1)!;
  }
}

/** The loose keys of what the job brought, in order; null: from the first. */
async function keysOfJob(pool: Pool, jobId: string, after: string | null): Promise<string[]> {
  const { rows } = await pool.query<[string]>({
    text: `select distinct t.loose_key
             from listening_history h join tracks t on t.id = h.track_id
            where h.import_job_id = $1 and ($2::text is null or t.loose_key > $2)
            order by 1 limit $3`,
    values: [jobId, after, KEYS_A_PAGE],
    rowMode: "array",
  });
  return rows.map(([key]) => key);
}

/** Writes down how many are linked, and that nothing is left to link; in the totals too when the job is closed. */
async function settle(pool: Pool, { id, inserted }: PendingJob, several: boolean): Promise<number> {
  return inTransaction(pool, async (client) => {
    if ((await lockJob(client, id)) === undefined) return 0;
    const linked = several ? await countLinked(client, id) : 0;
    await client.query(
      `update import_jobs
          set link_pending = (select coalesce(sum(inserted), 0) from import_parts where job_id = $1) <> $2,
              totals = jsonb_set(totals, '{counts,linked}', to_jsonb($3::bigint)), version = version + 1
        where id = $1`,
      [id, inserted, linked],
    );
    return linked;
  });
}

/**
 * Into the parts; their sum. Probes play by play, by the id alone: of links that were made a moment ago the planner knows
 * nothing, and would read all of them for each play.
 */
async function countLinked(client: PoolClient, jobId: string): Promise<number> {
  const { rows } = await client.query<{ linked: number }>(
    `with counts as (
       select b.part_no, count(*)::integer as linked
         from import_batches b
         cross join lateral unnest(b.claimed_ids, b.claimed_reasons) as c (id, reason)
         cross join lateral (
           select duplicate_of, import_job_id from listening_history where id = c.id offset 0
         ) h
        where b.job_id = $1 and c.reason = 0 and h.import_job_id = $1 and h.duplicate_of is not null
        group by b.part_no
     ), parts as (
       update import_parts p set linked = coalesce(c.linked, 0)
         from import_parts q left join counts c using (part_no)
        where q.job_id = $1 and p.job_id = $1 and p.part_no = q.part_no and p.linked <> coalesce(c.linked, 0)
     )
     select coalesce(sum(linked), 0)::bigint as linked from counts`,
    [jobId],
  );
  return rows[0]!.linked;
}
