import { OAUTH_PROVIDERS } from "../db/models/enums.js";

/**
 * At most so many parts of all imports at once in this process; each may use two database connections. A part holds two
 * batches of plays: of Cyrillic names of ordinary length, none known yet, three parts fit into the 256 MB of heap that
 * the process is given, and six end it. One thread judges them all, so more at once would hardly be faster.
 */
export const ACTIVITY_SLOTS = 3;

/**
 * At most so many steps of syncs at once of each provider. They wait for answers most of the time; a page is small, and so
 * few that a provider which sends as much as it may does not end the process.
 */
export const SYNC_SLOTS = 3;

/** Syncs that are opened at once because schedules are due, or ended: as a rule one short transaction each. */
export const DUE_SLOTS = 3;

/**
 * For the steps of imports, for how syncs begin and end, and two for what the worker does beside them. A step of a sync has
 * a connection for as long as it writes; only where it renews its access, also while the provider answers.
 */
export const CONNECTIONS = 2 * ACTIVITY_SLOTS + DUE_SLOTS + 2 + SYNC_SLOTS * OAUTH_PROVIDERS.length;
