/** Brings the sums behind statistics up to date, some time after the plays have changed. */
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { sqlState } from "../../db/errors.js";
import { type Due, usersDue } from "../../db/queries/statsBuilds.js";
import type { Logger } from "../../utils/logger.js";
import { onlyOnce } from "../upkeep.js";
import { refreshUser, UnknownTimeZoneError } from "./rebuild.js";

/** A listener who plays on is caught up with once a minute; what it costs is at most a twentieth of one connection's time. */
const WHEN_DUE: Due = { quietMs: 5000, movingMs: 60_000, share: 20, limit: 100 };

/** The account is gone or has changed since. */
const NOT_NOW = new Set(["40001", "23503"]);

export interface StatsUpkeepDependencies {
  readonly pool: pg.Pool;
  readonly log: Logger;
}

/**
 * One pass; gives how many users it has caught up with, null when another process is at it. One that fails leaves the
 * others alone, and is tried again in the next pass.
 */
export async function refreshStatistics(
  { pool, log }: StatsUpkeepDependencies,
  when: Partial<Due> = {},
): Promise<number | null> {
  return onlyOnce(pool, ADVISORY_LOCKS.statistics, async () => {
    let done = 0;
    for (const userId of await usersDue(pool, { ...WHEN_DUE, ...when })) {
      try {
        await refreshUser(pool, userId);
        done += 1;
      } catch (error) {
        if (error instanceof UnknownTimeZoneError) continue;
        const state = sqlState(error);
        if (state === null) throw error; // not the database's answer: there is none
        if (!NOT_NOW.has(state)) log.warn("statistics were not made", { userId, error });
      }
    }
    return done;
  });
}
