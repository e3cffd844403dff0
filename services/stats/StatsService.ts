/**
 * Statistics of a listening history: the reader's own, or another one that its owner has made public. Of the plays that
 * count, each once. Read from sums made before where these fit and are those of the history as it is (docs/adr/0017),
 * counted from the plays otherwise; the answers are the same.
 */
import type pg from "pg";
import { sqlState } from "../../db/errors.js";
import { accountOf, CATALOGUE, historyOf } from "../../db/queries/cacheVersions.js";
import {
  type Activity,
  countActivity,
  countSummary,
  countTop,
  NO_PLAYS,
  type RankPosition,
  type StatsSelection,
  type Summary,
  type TopKind,
  type TopPage,
} from "../../db/queries/stats.js";
import { statsReader } from "../../db/queries/statsReaders.js";
import {
  ALL_TIME,
  findRollup,
  type Rollup,
  rollupActivity,
  rollupSummary,
  rollupTop,
} from "../../db/queries/statsRollups.js";
import type { Reads } from "../../db/replica.js";
import { NotFoundError, ValidationError } from "../../utils/errors.js";
import { decodeCursor, encodeCursor, isPositionNumber } from "../../utils/pagination.js";
import { canonicalTimeZone, isTimeZone } from "../../utils/timeZones.js";
import { type Bucket, bucketSums, type BucketSum, grainOf, refuseTooMany } from "./buckets.js";
import {
  type InstantRange,
  instantsOf,
  isPartOfYear,
  isShort,
  type MomentRange,
  namesDays,
} from "./ranges.js";

export interface StatsQuery extends MomentRange {
  /** Whose history; the reader's own when absent. */
  readonly userId?: string;
  /** IANA name; the reader's own zone when absent. */
  readonly tz?: string;
}

export interface TopQuery extends StatsQuery {
  readonly limit: number;
  readonly cursor?: string;
}

export interface ActivityQuery extends StatsQuery {
  readonly bucket: Bucket;
}

export interface TopList {
  /** JSON objects, joined by commas. */
  readonly items: string;
  readonly nextCursor: string | null;
}

export interface StatsServiceDependencies {
  /** Of the primary. */
  readonly pool: pg.Pool;
  readonly reads: Reads;
}

/** What a question is about, once it is known who asks. */
interface Subject {
  readonly selection: StatsSelection;
  readonly range: InstantRange;
  readonly timeZone: string;
}

/** SQLSTATE of a time zone that PostgreSQL has no rules for. */
const UNKNOWN_ZONE = "22023";
const UTC = "UTC";

/**
 * Each method throws `NotFoundError` when the history is another user's and not public, exactly as when there is no such
 * user, and `ValidationError` for a range that ends before it begins.
 */
export class StatsService {
  constructor(private readonly deps: StatsServiceDependencies) {}

  async summary(readerId: string, query: StatsQuery): Promise<Summary> {
    const { selection } = await this.#subject(readerId, query, false);
    return this.#read(selection, async (pool) => {
      const rollup = await rollupFor(pool, selection);
      if (rollup?.years.length === 0) return NO_PLAYS;
      const year = rollup === null ? null : rowOf(rollup);
      const known =
        rollup === null || year === null
          ? null
          : await rollupSummary(pool, selection.userId, rollup.build, year);
      return known ?? (await countSummary(pool, selection));
    });
  }

  /** Most plays first. Throws `ValidationError` for a bad cursor, too. */
  async top(readerId: string, kind: TopKind, query: TopQuery): Promise<TopList> {
    const after = positionOf(kind, query.cursor);
    const { selection } = await this.#subject(readerId, query, false);
    const request = { kind, limit: query.limit, ...(after === undefined ? {} : { after }) };
    const { items, next } = await this.#read(selection, async (pool): Promise<TopPage> => {
      const rollup = await rollupFor(pool, selection);
      if (rollup?.years.length === 0) return { items: "", next: null };
      const year = rollup === null ? null : rowOf(rollup);
      const known =
        rollup === null || year === null
          ? null
          : await rollupTop(pool, selection.userId, rollup.build, year, request);
      return known ?? (await countTop(pool, selection, request));
    });
    return {
      items,
      nextCursor: next === null ? null : encodeCursor(listName(kind), [next.plays, next.id]),
    };
  }

  /** Throws `ValidationError` for too many buckets, and for a time zone that the database does not know, too. */
  async activity(readerId: string, query: ActivityQuery): Promise<readonly BucketSum[]> {
    const { bucket } = query;
    const { selection, range, timeZone } = await this.#subject(readerId, query, true);
    refuseTooMany(bucket, range);
    const grain = grainOf(bucket);
    const activity = await this.#read(selection, async (pool): Promise<Activity | null> => {
      const rollup = await rollupFor(pool, selection);
      if (rollup !== null && rollup.years.length === 0) return { keys: [], plays: [], ms: [] };
      const known =
        rollup === null || !sameZone(rollup.timeZone, timeZone)
          ? null
          : await rollupActivity(pool, selection.userId, rollup.build, rollup.years, grain);
      return known ?? (await unlessZoneUnknown(countActivity(pool, selection, grain, timeZone)));
    });
    if (activity === null) throw unknownZone();
    return bucketSums(activity, bucket, range, timeZone);
  }

  async #subject(readerId: string, query: StatsQuery, needsZone: boolean): Promise<Subject> {
    const { userId: ownerId = readerId, tz } = query;
    const zoneMissing = tz === undefined && (needsZone || namesDays(query));
    const asked =
      ownerId !== readerId || zoneMissing ? await statsReader(this.deps.pool, readerId, ownerId) : null;
    if (ownerId !== readerId && asked?.mayRead !== true) throw new NotFoundError();
    const timeZone = tz ?? asked?.timeZone ?? UTC;
    if (!isTimeZone(timeZone)) throw unknownZone();
    const range = instantsOf(query, timeZone);
    return {
      selection: { userId: ownerId, ...range, short: isShort(range), hidePrivate: ownerId !== readerId },
      range,
      timeZone,
    };
  }

  #read<T>({ userId }: StatsSelection, work: (pool: pg.Pool) => Promise<T>): Promise<T> {
    return this.deps.reads.run([historyOf(userId), accountOf(userId), CATALOGUE], work);
  }
}

/** A part of a year is counted as quickly as it would be found out whether it needs to be. */
const rollupFor = (pool: pg.Pool, selection: StatsSelection): Promise<Rollup | null> =>
  isPartOfYear(selection) ? Promise.resolve(null) : findRollup(pool, selection);

/** The one row that has the sums of all these years; null when they would have to be put together. */
function rowOf({ years, whole }: Rollup): number | null {
  if (whole) return ALL_TIME;
  const [year, ...more] = years;
  return year === undefined || more.length > 0 ? null : year;
}

const sameZone = (a: string, b: string): boolean => a === b || canonicalTimeZone(a) === canonicalTimeZone(b);

const listName = (kind: TopKind): string => `top-${kind}s`;

const positionOf = (kind: TopKind, cursor: string | undefined): RankPosition | undefined =>
  cursor === undefined
    ? undefined
    : decodeCursor(listName(kind), cursor, ([plays, id]) =>
        isPositionNumber(plays) && isPositionNumber(id) ? { plays, id } : null,
      );

/** Null for a zone without rules in PostgreSQL, which says nothing about the health of a replica. */
async function unlessZoneUnknown<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (sqlState(error) === UNKNOWN_ZONE) return null;
    throw error;
  }
}

function unknownZone(): ValidationError {
  const message = "This time zone is not known; name another one in tz";
  return new ValidationError(message, [{ path: "tz", code: "bad_time_zone", message }]);
}
