/** Transactions on one user's plays: which lock they take, and what becomes of them when they lose a race. */
import type pg from "pg";
import { USER_LINKS_LOCK, USER_PLAYS_LOCK } from "../../db/advisoryLocks.js";
import { brokenConstraint, sqlState } from "../../db/errors.js";
import { inTransaction } from "../../db/transaction.js";
import { UnauthorizedError } from "../../utils/errors.js";
import { SHARE_CATALOGUE } from "../catalog/lock.js";

/** A batch of an import holds the lock for about a second, so somebody who waits is not kept longer than two tries. */
const TRIES = 2;
const FOREIGN_KEY_VIOLATION = "23503";
const OWNER_KEYS = new Set(["plays_user", "deleted_plays_user_id_fkey", "play_link_overrides_user_id_fkey"]);

/**
 * Shared: adds plays, changes or links them. Alone: takes plays away, which no import may be about to claim. Either way
 * nobody else links them, and nothing that they are plays of is renamed or merged meanwhile.
 */
export type Hold = "shared" | "alone";

const LOCK: Readonly<Record<Hold, string>> = {
  shared: `select pg_advisory_xact_lock_shared(${USER_PLAYS_LOCK}), ${SHARE_CATALOGUE},
                  pg_advisory_xact_lock(${USER_LINKS_LOCK})`,
  alone: `select pg_advisory_xact_lock(${USER_PLAYS_LOCK}), ${SHARE_CATALOGUE}`,
};

/** For transactions that are begun elsewhere. Held until they end. */
export async function lockPlays(client: pg.ClientBase, userId: string, hold: Hold): Promise<void> {
  await client.query(LOCK[hold], [userId]);
}

/** Throws `UnauthorizedError` when the account is erased at this very moment. */
export async function withPlaysOf<T>(
  pool: pg.Pool,
  userId: string,
  hold: Hold,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  try {
    return await inTransaction(
      pool,
      async (client) => {
        await lockPlays(client, userId, hold);
        return await work(client);
      },
      TRIES,
    );
  } catch (error) {
    if (OWNER_KEYS.has(missingTarget(error) ?? "")) throw new UnauthorizedError();
    throw error;
  }
}

/** Whether a track or an album that was found a moment ago has gone, as after a merge: to look again is the cure. */
export function catalogueMoved(error: unknown): boolean {
  const constraint = missingTarget(error);
  return constraint !== null && !OWNER_KEYS.has(constraint);
}

/** The foreign key whose target is not there; null for other errors. */
const missingTarget = (error: unknown): string | null =>
  sqlState(error) === FOREIGN_KEY_VIOLATION ? brokenConstraint(error) : null;
