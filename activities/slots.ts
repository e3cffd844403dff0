/**
 * At most so many parts of all imports at once in this process; each may use two database connections. A part holds two
 * batches of plays: of Cyrillic names of ordinary length, none known yet, three parts fit into the 256 MB of heap that
 * the process is given, and six end it. One thread judges them all, so more at once would hardly be faster.
 */
export const ACTIVITY_SLOTS = 3;
