/**
 * The links that nobody else brings up to date: of imports that were closed before their plays were linked, and of plays
 * whose tracks were renamed or merged. One pass of the worker's upkeep; what it leaves, the next one does.
 */
import type { Pool, PoolClient } from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { inTransaction } from "../../db/transaction.js";
import { KEYS_AT_ONCE, relinkKeys } from "../history/linking/relink.js";
import { lockPlays } from "../history/userPlays.js";
import { onlyOnce } from "../upkeep.js";
import { OPEN_STATUSES } from "./jobs.js";
import { linkImport } from "./linking.js";

export interface LinkPass {
  /** Imports that were linked. */
  readonly imports: number;
  /** Histories in which keys were looked at. */
  readonly histories: number;
}

/** Null when another process is at it. */
export function catchUpLinks(pool: Pool): Promise<LinkPass | null> {
  return onlyOnce(pool, ADVISORY_LOCKS.linking, async () => ({
    imports: await linkClosedImports(pool),
    histories: await linkChangedNames(pool),
  }));
}

const IMPORTS_A_PASS = 20;
const CHANGES_A_PASS = 500;

async function linkClosedImports(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ id: string }>(
    `select id from import_jobs where link_pending and status <> all ($1::import_status[]) order by random() limit $2`,
    [[...OPEN_STATUSES, "undoing"], IMPORTS_A_PASS],
  );
  const work = { signal: new AbortController().signal, heartbeat: () => {} };
  for (const { id } of rows) await linkImport(pool, id, work);
  return rows.length;
}

/** Histories in which a key has several families, or links that its plays may have lost the ground for. */
const CONCERNED = `
  select s.user_id, array_agg(s.loose_key) as keys
    from (select h.user_id, k.loose_key
            from unnest($1::text[]) as k (loose_key)
            cross join lateral (select id from tracks where loose_key = k.loose_key offset 0) t
            join listening_history h on h.track_id = t.id
           group by h.user_id, k.loose_key
          having min(h.source) <> max(h.source) or bool_or(h.duplicate_of is not null)) s
   group by s.user_id`;

async function linkChangedNames(pool: Pool): Promise<number> {
  let histories = 0;
  for (;;) {
    const changes = await pool.query<{ id: number; loose_key: string }>(
      "select id, loose_key from link_changes order by id limit $1",
      [CHANGES_A_PASS],
    );
    if (changes.rows.length === 0) return histories;
    const keys = [...new Set(changes.rows.map(({ loose_key: key }) => key))];
    const concerned = await pool.query<{ user_id: string; keys: string[] }>(CONCERNED, [keys]);
    for (const each of concerned.rows) await relinkHistory(pool, each.user_id, each.keys);
    histories += concerned.rows.length;
    await pool.query("delete from link_changes where id = any ($1::bigint[])", [
      changes.rows.map(({ id }) => id),
    ]);
  }
}

/** Links these keys of one history anew; how many plays changed. */
export async function relinkHistory(pool: Pool, userId: string, keys: readonly string[]): Promise<number> {
  let changed = 0;
  for (let from = 0; from < keys.length; from += KEYS_AT_ONCE)
    changed += await inTransaction(pool, async (client: PoolClient) => {
      await lockPlays(client, userId, "shared");
      return relinkKeys(client, userId, keys.slice(from, from + KEYS_AT_ONCE));
    });
  return changed;
}
