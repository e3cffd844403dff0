/** Sums of days and hours put into the buckets that were asked for, those without plays among them. */
import type { Activity, Grain } from "../../db/queries/stats.js";
import { ValidationError } from "../../utils/errors.js";
import { dateText, type DayNumber, dayNumber, localDay, OffsetClock } from "../../utils/timeZones.js";
import type { InstantRange } from "./ranges.js";

export const BUCKETS = ["hour", "day", "week", "month", "year"] as const;
export type Bucket = (typeof BUCKETS)[number];

/** Enough for each hour of a year, or each day of 27 years. */
export const MAX_BUCKETS = 10_000;

export interface BucketSum {
  /**
   * Start of the bucket: the local date of its first day (weeks begin on Mondays); for hours the local time with the
   * offset that holds then, so that the hour clocks show twice is two buckets.
   */
  readonly bucket: string;
  readonly plays: number;
  readonly msPlayed: number;
}

/** What has to be counted for buckets of this size: a week, a month and a year are sums of days. */
export const grainOf = (bucket: Bucket): Grain => (bucket === "hour" ? "hour" : "day");

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/**
 * All buckets that the range touches, in order. Where the range is open it ends with the first or the last play, and
 * without any play there are no buckets then. Throws `ValidationError` for more than `MAX_BUCKETS`.
 */
export function bucketSums(
  activity: Activity,
  bucket: Bucket,
  range: InstantRange,
  timeZone: string,
): readonly BucketSum[] {
  return bucket === "hour" ? hourSums(activity, range, timeZone) : daySums(activity, bucket, range, timeZone);
}

/** As `bucketSums`, before anything is counted; an open range cannot be judged yet. */
export function refuseTooMany(bucket: Bucket, { from, until }: InstantRange): void {
  if (from === undefined || until === undefined) return;
  const longest = { hour: 1, day: 25, week: 7 * 24 + 1, month: 31 * 24 + 1, year: 366 * 24 + 1 }[bucket];
  if ((until.getTime() - from.getTime()) / HOUR_MS / longest > MAX_BUCKETS) throw tooMany();
}

function tooMany(): ValidationError {
  const message = `These are more than ${MAX_BUCKETS} buckets: ask for larger ones or for a shorter range`;
  return new ValidationError(message, [{ path: "bucket", code: "too_many_buckets", message }]);
}

type Sums = Map<number, { plays: number; ms: number }>;

function sumsBy({ keys, plays, ms }: Activity, startOf: (key: number) => number): Sums {
  const sums: Sums = new Map();
  for (const [index, key] of keys.entries()) {
    const start = startOf(key);
    const sum = sums.get(start) ?? { plays: 0, ms: 0 };
    sum.plays += plays[index] ?? 0;
    sum.ms += ms[index] ?? 0;
    sums.set(start, sum);
  }
  return sums;
}

/** A bucket's key among the sums, and its name. */
type Start = readonly [key: number, name: string];

function filled(starts: Iterable<Start>, sums: Sums): readonly BucketSum[] {
  const buckets: BucketSum[] = [];
  for (const [key, bucket] of starts) {
    if (buckets.length === MAX_BUCKETS) throw tooMany();
    const { plays = 0, ms = 0 } = sums.get(key) ?? {};
    buckets.push({ bucket, plays, msPlayed: ms });
  }
  return buckets;
}

/** Days that begin a bucket: of the bucket that has a day in it, and of the one after. */
interface Calendar {
  readonly startOf: (day: DayNumber) => DayNumber;
  readonly after: (start: DayNumber) => DayNumber;
}

const WEEK_DAYS = 7;
/** 1970-01-01 was a Thursday. */
const MONDAY_OF_DAY_0 = -3;

const monthOf = (day: DayNumber, more = 0): DayNumber => {
  const date = new Date(day * 24 * HOUR_MS);
  return dayNumber(date.getUTCFullYear(), date.getUTCMonth() + 1 + more, 1);
};
const yearOf = (day: DayNumber, more = 0): DayNumber =>
  dayNumber(new Date(day * 24 * HOUR_MS).getUTCFullYear() + more, 1, 1);

const CALENDARS: Readonly<Record<Exclude<Bucket, "hour">, Calendar>> = {
  day: { startOf: (day) => day, after: (start) => start + 1 },
  week: {
    startOf: (day) => Math.floor((day - MONDAY_OF_DAY_0) / WEEK_DAYS) * WEEK_DAYS + MONDAY_OF_DAY_0,
    after: (start) => start + WEEK_DAYS,
  },
  month: { startOf: (day) => monthOf(day), after: (start) => monthOf(start, 1) },
  year: { startOf: (day) => yearOf(day), after: (start) => yearOf(start, 1) },
};

function daySums(
  activity: Activity,
  bucket: Exclude<Bucket, "hour">,
  { from, until }: InstantRange,
  timeZone: string,
): readonly BucketSum[] {
  const { startOf, after } = CALENDARS[bucket];
  const first = from === undefined ? activity.keys[0] : localDay(from.getTime(), timeZone);
  // The last day that has a moment before `until`.
  const last = until === undefined ? activity.keys.at(-1) : localDay(until.getTime() - 1, timeZone);
  if (first === undefined || last === undefined) return [];
  if (from !== undefined && from.getTime() === until?.getTime()) return [];
  function* starts(begin: DayNumber, end: DayNumber): Generator<Start> {
    for (let start = startOf(begin); start <= end; start = after(start)) yield [start, dateText(start)];
  }
  return filled(starts(first, last), sumsBy(activity, startOf));
}

function hourSums(activity: Activity, { from, until }: InstantRange, timeZone: string): readonly BucketSum[] {
  const minutes = sumsBy(activity, (key) => key);
  const firstKey = activity.keys[0];
  const lastKey = activity.keys.at(-1);
  const first = from?.getTime() ?? (firstKey === undefined ? undefined : firstKey * MINUTE_MS);
  const end = until?.getTime() ?? (lastKey === undefined ? undefined : lastKey * MINUTE_MS + 1);
  if (first === undefined || end === undefined || first === end) return [];
  const clock = new OffsetClock(timeZone);
  function* starts(begin: number, end: number): Generator<Start> {
    let instant = begin;
    for (;;) {
      const offset = clock.at(instant);
      const start = Math.floor((instant + offset) / HOUR_MS) * HOUR_MS - offset;
      if (start >= end) return;
      yield [start / MINUTE_MS, hourText(start, offset)];
      // Where clocks are put to the middle of an hour meanwhile, its start is looked for again.
      instant = start + HOUR_MS;
    }
  }
  return filled(starts(first, end), minutes);
}

/** @param offsetMs of the bucket; clocks may have shown another one at its start, when they are put by half an hour */
function hourText(startMs: number, offsetMs: number): string {
  const local = new Date(startMs + offsetMs).toISOString().slice(0, 13);
  const minutes = Math.round(Math.abs(offsetMs) / MINUTE_MS);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${local}:00:00${offsetMs < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
