/**
 * Reading a whole history of scrobbles from the newest backwards, page by page, and from then on only what is new. The
 * upper bound of a page is a time, never a number of pages, so plays that come in meanwhile shift nothing. Pages overlap by
 * a second, and syncs by two hours, for scrobbles that are handed in late; what is read twice has the same key. The cursor
 * says where an unfinished walk stands: the next sync goes on there. A walk through a range begins at its end and ends at its
 * beginning. All times here are Unix seconds, but for those of a range.
 */
import { ProviderError } from "../errors.js";
import { asObject, wholeNumber } from "./calls.js";
import type { PageRequest, PlayRange, SyncPage } from "./types.js";

const OVERLAP_S = 2 * 60 * 60;
const CLOCK_TOLERANCE_S = 60 * 60;

export interface Bounds {
  /** Only plays before this; null: none yet. */
  readonly before: number | null;
  /** Only plays from here on; null: all. */
  readonly floor: number | null;
}

export interface Walked {
  readonly records: readonly unknown[];
  /** The time of each record; null for those without one. */
  readonly seconds: readonly (number | null)[];
  /** How many were asked for. */
  readonly limit: number;
  /** Nothing within the bounds is older than these, as far as the provider says so. */
  readonly last: boolean;
  /** These are not the newest within the bounds: only a walk from the top down leaves nothing out. */
  readonly fromBelow?: boolean;
}

interface Walk {
  readonly before: number;
  /** Newest play that the walk has seen. */
  readonly top: number | null;
  readonly floor: number | null;
}

interface Position {
  /** Everything up to this is known; null before the end of the first walk. */
  readonly newest: number | null;
  readonly walk: Walk | null;
}

export async function walkedPage(
  name: string,
  { cursor, polledAt, range }: PageRequest,
  ask: (bounds: Bounds) => Promise<Walked>,
): Promise<SyncPage> {
  const { newest, walk } = positionOf(cursor);
  const { before, floor } = walk ?? (range === undefined ? fromTheTop(newest) : boundsOf(range));
  const found = await ask({ before, floor });
  const latest = Math.floor(polledAt / 1000) + CLOCK_TOLERANCE_S;

  const times = found.seconds.filter((time) => time !== null);
  if (times.length === 0 && found.records.length > 1) {
    throw new ProviderError(`${name} answered with plays that have no time`, false);
  }
  const oldest = times.length === 0 ? null : Math.min(...times);
  if (before !== null && Math.max(...times) > before) {
    throw new ProviderError(`${name} answered with the same plays again instead of older ones`, false);
  }
  // A play that claims to be of next year must not hide all those until then.
  const believable = times.filter((time) => time <= latest);
  const seen = [walk?.top ?? null, ...believable].filter((time) => time !== null);
  const top = seen.length === 0 ? null : Math.max(...seen);

  if (found.fromBelow === true)
    return going(found.records, { newest, walk: { before: latest + 1, top, floor } });

  const within = found.records.filter((_, index) => {
    const time = found.seconds[index] ?? null;
    return time === null || floor === null || time >= floor;
  });
  const isFull = times.length >= found.limit;
  const stuck = walk !== null && oldest !== null && oldest >= walk.before - 1;
  const reached = oldest === null || oldest === 0 || (floor !== null && oldest < floor) || (stuck && !isFull);
  if (found.last || reached) {
    return { records: within, cursor: { newest: top ?? newest, walk: null }, more: false, gap: null };
  }
  // More plays in one second than a page holds: the rest of that second cannot be reached.
  if (stuck) {
    const gap = { from: oldest * 1000, until: (oldest + 1) * 1000 };
    return { ...going(within, { newest, walk: { before: oldest, top, floor } }), gap };
  }
  return going(within, { newest, walk: { before: oldest + 1, top, floor } });
}

function going(records: readonly unknown[], { newest, walk }: Position): SyncPage {
  return { records, cursor: { newest, walk }, more: true, gap: null };
}

const fromTheTop = (newest: number | null): Bounds => ({
  before: null,
  floor: newest === null ? null : Math.max(0, newest - OVERLAP_S),
});

const boundsOf = ({ from, until }: PlayRange): Bounds => ({
  before: until === null ? null : Math.ceil(until / 1000) + 1,
  floor: from === null ? null : Math.floor(from / 1000),
});

/** A cursor that cannot be understood begins again: keys see to it that nothing comes in twice. */
function positionOf(cursor: PageRequest["cursor"]): Position {
  if (cursor === null) return { newest: null, walk: null };
  const newest = wholeNumber(cursor["newest"]);
  const walk = cursor["walk"];
  if (typeof walk !== "object" || walk === null) return { newest, walk: null };
  const { before, top, floor } = asObject(walk, "The cursor");
  const bound = wholeNumber(before);
  return {
    newest,
    walk: bound === null ? null : { before: bound, top: wholeNumber(top), floor: wholeNumber(floor) },
  };
}
