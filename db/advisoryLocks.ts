/**
 * The advisory locks of playlog that have fixed numbers, side by side so that no two are the same. Any numbers will do, as
 * long as every version takes these.
 */
export const ADVISORY_LOCKS = {
  migrate: 7_305_521,
  firstAccount: 7_305_522,
  reconcile: 7_305_523,
  searchIndex: 7_305_524,
  statistics: 7_305_525,
  popularity: 7_305_526,
  catalogue: 7_305_527,
  merges: 7_305_529,
  linking: 7_305_530,
  schedules: 7_305_531,
} as const;

/**
 * SQL of the key of the lock on one user's plays, for SQL that gives the user's id. A batch of an import takes it shared,
 * whoever removes or moves plays takes it alone: between looking for a play and claiming it, none may vanish.
 */
export const userPlaysLock = (userId: string): string =>
  `hashtextextended('playlog user ' || ${userId}::text, 0)`;

/** The same, where the user's id is parameter 1. */
export const USER_PLAYS_LOCK = userPlaysLock("$1");

/**
 * The key of the lock on the links of one user's plays, where the user's id is parameter 1. Whoever links takes it alone and
 * the one on the plays shared before it, so that two who link the same plays do not miss each other's, and no batch waits.
 */
export const USER_LINKS_LOCK = "hashtextextended('playlog links of user ' || $1::text, 0)";
