/**
 * How often artists, albums and tracks were played, by everybody: counted plays, each once. Nobody who writes plays keeps
 * these numbers; a pass counts all plays again when anything has changed, and writes the numbers that differ. So they
 * are right whatever happened before, and an import pays nothing for them. See docs/adr/0015.
 */
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { announceChange, LISTINGS } from "../../db/queries/cacheVersions.js";
import { inTransaction } from "../../db/transaction.js";
import { onlyOnce } from "../upkeep.js";
import { shareCatalogue } from "./lock.js";

/** A pass takes about a second for a million plays. */
const COUNTING_TIMEOUT_MS = 10 * 60_000;
/** Rows that stay locked at a time: against editors for some milliseconds, against imports never. */
const ROWS_AT_ONCE = 2000;
/** Passes take no more than one part in so many of a processor. */
const REST = 50;
const LEAST_PAUSE_MS = 30_000;
/** A pass waits for the end of running imports, which move most of the numbers, but no longer than this. */
const IMPORTS_WAIT_MS = 5 * 60_000;

const TABLES = ["artists", "albums", "tracks"] as const;

export interface PopularityOptions {
  readonly pool: pg.Pool;
  /** Milliseconds between two passes at least. */
  readonly leastPauseMs?: number;
}

/**
 * One pass, if something has changed and the last one is long enough ago. Gives how many numbers it wrote; null
 * when there was nothing to do, or another process was at it.
 */
export function refreshPopularity({
  pool,
  leastPauseMs = LEAST_PAUSE_MS,
}: PopularityOptions): Promise<number | null> {
  return onlyOnce(pool, ADVISORY_LOCKS.popularity, async () => {
    const due = await isDue(pool, leastPauseMs);
    return due === null ? null : pass(pool, due);
  });
}

interface Due {
  /** What the numbers will be as new as. */
  readonly seen: string;
  /** There is something new to tell, whether or not numbers change. */
  readonly news: boolean;
}

/** Whatever moves plays moves the versions of histories, or that of the catalogue; what is new has a new id. */
async function isDue(pool: pg.Pool, leastPauseMs: number): Promise<Due | null> {
  const { rows } = await pool.query<{ seen: string; changed: boolean; grown: boolean; pending: boolean }>(
    `select now.seen, now.seen <> s.seen as changed, now.ids <> split_part(s.seen, '/', 2) as grown, s.pending
       from popularity_state s
       cross join (
         select concat(
                  (select coalesce(sum(version), 0) from cache_versions where topic in ('history', 'catalogue')),
                  '/', ids) as seen, ids
           from (select concat_ws('-', (select max(id) from artists), (select max(id) from albums),
                                       (select max(id) from tracks)) as ids) i
       ) now
      where (s.finished_at is null
             or s.finished_at < now() - make_interval(secs => greatest($1::float8, $2::float8 * s.took_ms) / 1000))
        and (s.finished_at < now() - make_interval(secs => $3::float8 / 1000)
             or not exists (select from import_jobs
                             where status = 'running'
                               and started_at > now() - make_interval(secs => $3::float8 / 1000)))`,
    [leastPauseMs, REST, IMPORTS_WAIT_MS],
  );
  const [row] = rows;
  if (row === undefined || !(row.changed || row.pending)) return null;
  return { seen: row.seen, news: row.grown || row.pending };
}

async function pass(pool: pg.Pool, { seen, news }: Due): Promise<number> {
  const startedAt = performance.now();
  const client = await pool.connect();
  let whole = false;
  try {
    await count(client);
    let written = 0;
    for (const table of TABLES) written += await write(pool, client, table);
    const tookMs = Math.round(performance.now() - startedAt);
    await inTransaction(pool, async (finishing) => {
      await finishing.query(
        "update popularity_state set seen = $1, pending = false, finished_at = now(), took_ms = $2",
        [seen, tookMs],
      );
      if (news || written > 0) await announceChange(finishing, LISTINGS);
    });
    await client.query("drop table popularity_changes");
    whole = true;
    return written;
  } finally {
    client.release(!whole); // closes it when something went wrong, and what is left of the pass with it
  }
}

/** Numbers that are not as they should be, into a temporary table of this connection. */
async function count(client: pg.PoolClient): Promise<void> {
  await client.query("begin");
  await client.query(`select set_config('statement_timeout', $1, true), set_config('jit', 'off', true)`, [
    String(COUNTING_TIMEOUT_MS),
  ]);
  const statement = {
    text: `
      create temporary table popularity_changes as
      with plays as materialized (
        select track_id, artist_id, album_id, count(*) as plays from listening_history
         where counted and duplicate_of is null group by track_id, artist_id, album_id
      )
      ${TABLES.map(differing).join(" union all ")}`,
    query_timeout: COUNTING_TIMEOUT_MS,
  };
  await client.query(statement);
  await client.query("create index on popularity_changes (entity, id)");
  await client.query("commit");
}

const differing = (table: (typeof TABLES)[number]): string => {
  const column = `${table.slice(0, -1)}_id`;
  return `
    select '${table}' as entity, e.id, coalesce(c.plays, 0)::integer as popularity
      from ${table} e
      left join (select ${column} as id, sum(plays) as plays from plays group by ${column}) c on c.id = e.id
     where e.popularity <> coalesce(c.plays, 0)`;
};

/** In order of id, a bounded number in each transaction, beside imports and between merges. */
async function write(pool: pg.Pool, client: pg.PoolClient, table: (typeof TABLES)[number]): Promise<number> {
  let written = 0;
  for (let last = 0; ;) {
    const { rows } = await client.query<{ id: number; popularity: number }>(
      "select id, popularity from popularity_changes where entity = $1 and id > $2 order by id limit $3",
      [table, last, ROWS_AT_ONCE],
    );
    if (rows.length === 0) return written;
    last = rows.at(-1)!.id;
    written += await inTransaction(pool, async (writing) => {
      await shareCatalogue(writing);
      await writing.query("update popularity_state set pending = true where not pending");
      const { rowCount } = await writing.query(
        `update ${table} e set popularity = w.popularity
           from unnest($1::bigint[], $2::integer[]) as w (id, popularity)
          where e.id = w.id and e.popularity <> w.popularity`,
        [rows.map(({ id }) => id), rows.map(({ popularity }) => popularity)],
      );
      return rowCount ?? 0;
    });
  }
}
