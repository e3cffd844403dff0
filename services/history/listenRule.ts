/**
 * What counts as a listen: a pure function of one row, so that lists and totals of one user never depend on another's. Rows
 * keep the answer (`counted`): whoever changes the rule counts the stored ones anew in a migration.
 */

const LONG_ENOUGH_MS = 240_000;
const SHORTEST_TRACK_MS = 30_000;

export interface PlayedTime {
  /** Milliseconds of audio played; null where the source does not say. */
  readonly msPlayed: number | null;
  /** Length of the recording as this row's own source gives it; null where it does not. */
  readonly durationMs: number | null;
}

/**
 * Four minutes always count. With a known length, half of it does (tracks under 30 s never do); without one,
 * 30 s do. A source that does not tell how long something played has made that choice itself.
 */
export function countsAsListen({ msPlayed, durationMs }: PlayedTime): boolean {
  if (msPlayed === null) return true;
  if (msPlayed >= LONG_ENOUGH_MS) return true;
  if (durationMs === null) return msPlayed >= SHORTEST_TRACK_MS;
  return durationMs >= SHORTEST_TRACK_MS && msPlayed >= durationMs / 2;
}
