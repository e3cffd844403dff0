/** Links all histories anew, account by account. For a new version of the rules, and for whoever wants to be sure. */
import type { Pool } from "pg";
import { relinkHistory } from "./linkUpkeep.js";

export interface RelinkedAccount {
  readonly username: string;
  /** Plays whose link was another one. */
  readonly changed: number;
}

const ACCOUNTS_A_PAGE = 500;
const KEYS_A_PAGE = 10_000;

/** `each` is told of every account when it is done. May be broken off and begun again. */
export async function relinkAll(pool: Pool, each: (account: RelinkedAccount) => void): Promise<void> {
  for (let after: string | null = null; ;) {
    const { rows }: { rows: { id: string; username: string }[] } = await pool.query(
      "select id, username from users where $1::uuid is null or id > $1 order by id limit $2",
      [after, ACCOUNTS_A_PAGE],
    );
    for (const { id, username } of rows) each({ username, changed: await relinkUser(pool, id) });
    if (rows.length < ACCOUNTS_A_PAGE) return;
    after = rows.at(-1)!.id;
  }
}

async function relinkUser(pool: Pool, userId: string): Promise<number> {
  let changed = 0;
  for (let after: string | null = null; ;) {
    const { rows }: { rows: { loose_key: string }[] } = await pool.query(
      `select distinct t.loose_key from listening_history h join tracks t on t.id = h.track_id
        where h.user_id = $1 and ($2::text is null or t.loose_key > $2) order by 1 limit $3`,
      [userId, after, KEYS_A_PAGE],
    );
    const keys = rows.map(({ loose_key: key }) => key);
    changed += await relinkHistory(pool, userId, keys);
    if (keys.length < KEYS_A_PAGE) return changed;
    after = keys.at(-1)!;
  }
}
