/**
 * The advisory locks of playlog that have fixed numbers, side by side so that no two are the same. Any numbers will do, as
 * long as every version takes these. (The lock on one user's plays is a hash, see BatchCommitter.)
 */
export const ADVISORY_LOCKS = {
  migrate: 7_305_521,
  firstAccount: 7_305_522,
  reconcile: 7_305_523,
} as const;
