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
} as const;

/**
 * SQL of the key of the lock on one user's plays; the user's id is parameter 1. A batch of an import takes it shared,
 * whoever removes plays takes it alone: between looking for a play and claiming it, none may vanish.
 */
export const USER_PLAYS_LOCK = "hashtextextended('playlog user ' || $1::text, 0)";
