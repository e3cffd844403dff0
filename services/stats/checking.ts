/** Makes the sums behind statistics anew, account by account, and compares them with those that are there. */
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { statsAccounts } from "../../db/queries/statsBuilds.js";
import { onlyOnce } from "../upkeep.js";
import { checkUser, UnknownTimeZoneError } from "./rebuild.js";

export interface CheckedAccount {
  readonly username: string;
  /**
   * right: as they were. wrong: they were read, and were not what the plays come to. behind: they are older than the
   * plays, so nobody reads them. none: there were none. impossible: the account's time zone is not known.
   */
  readonly state: "right" | "wrong" | "behind" | "none" | "impossible";
  /** That differ when something was wrong; 0 stands for all of time. */
  readonly years: readonly number[];
}

export interface CheckOptions {
  /** Whether what was made anew stays. */
  readonly keep: boolean;
  /** Told of each account as it is done. */
  readonly each: (account: CheckedAccount) => void;
}

/** How many accounts there are; null, and nothing done, while another process makes statistics. */
export async function checkStatistics(pool: pg.Pool, { keep, each }: CheckOptions): Promise<number | null> {
  return onlyOnce(pool, ADVISORY_LOCKS.statistics, async () => {
    const accounts = await statsAccounts(pool);
    for (const { id, username } of accounts) each({ username, ...(await checkAccount(pool, id, keep)) });
    return accounts.length;
  });
}

async function checkAccount(
  pool: pg.Pool,
  userId: string,
  keep: boolean,
): Promise<Pick<CheckedAccount, "state" | "years">> {
  try {
    const result = await checkUser(pool, userId, keep);
    if (result === null) return { state: "none", years: [] };
    const { fresh, differing } = result;
    if (!fresh) return { state: "behind", years: [] };
    return { state: differing.length === 0 ? "right" : "wrong", years: differing };
  } catch (error) {
    if (error instanceof UnknownTimeZoneError) return { state: "impossible", years: [] };
    throw error;
  }
}
