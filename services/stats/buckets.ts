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
const DAY_HOURS = 24;

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

/** The buckets of a range, one after the other: where one starts, as `startOf` gives it for the keys in it, and its name. */
interface Starts {
  /** False when there is no other. */
  next(): boolean;
  readonly start: number;
  readonly name: string;
}

/** Both the starts and the keys rise, so one walk over them is enough. */
function filled(
  starts: Starts,
  { keys, plays, ms }: Activity,
  startOf: (key: number) => number,
): readonly BucketSum[] {
  const buckets: BucketSum[] = [];
  let index = 0;
  while (starts.next()) {
    if (buckets.length === MAX_BUCKETS) throw tooMany();
    let [sum, msPlayed] = [0, 0];
    for (; index < keys.length && startOf(keys[index]!) <= starts.start; index += 1) {
      sum += plays[index] ?? 0;
      msPlayed += ms[index] ?? 0;
    }
    buckets.push({ bucket: starts.name, plays: sum, msPlayed });
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
  const date = new Date(day * DAY_HOURS * HOUR_MS);
  return dayNumber(date.getUTCFullYear(), date.getUTCMonth() + 1 + more, 1);
};
const yearOf = (day: DayNumber, more = 0): DayNumber =>
  dayNumber(new Date(day * DAY_HOURS * HOUR_MS).getUTCFullYear() + more, 1, 1);

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
  return filled(new DayStarts(startOf(first), last, after), activity, startOf);
}

class DayStarts implements Starts {
  start = NaN;
  #next: DayNumber;

  constructor(
    first: DayNumber,
    private readonly last: DayNumber,
    private readonly after: Calendar["after"],
  ) {
    this.#next = first;
  }

  next(): boolean {
    this.start = this.#next;
    this.#next = this.after(this.start);
    return this.start <= this.last;
  }

  get name(): string {
    return dateText(this.start);
  }
}

function hourSums(activity: Activity, { from, until }: InstantRange, timeZone: string): readonly BucketSum[] {
  const firstKey = activity.keys[0];
  const lastKey = activity.keys.at(-1);
  const first = from?.getTime() ?? (firstKey === undefined ? undefined : firstKey * MINUTE_MS);
  const end = until?.getTime() ?? (lastKey === undefined ? undefined : lastKey * MINUTE_MS + 1);
  if (first === undefined || end === undefined || first === end) return [];
  return filled(new HourStarts(first, end, timeZone), activity, (minute) => minute);
}

const two = (value: number): string => String(value).padStart(2, "0");
const HOURS = Array.from({ length: DAY_HOURS }, (_, hour) => `T${two(hour)}:00:00`);

/**
 * Starts in minutes since 1970. Clocks may show another offset at a start, when they are put by half an hour. What one hour
 * has in common with the one before it is written once: there may be thousands.
 */
class HourStarts implements Starts {
  start = NaN;
  name = "";
  readonly #clock: OffsetClock;
  #instant: number;
  #day = NaN;
  #date = "";
  #offset = NaN;
  #ending = "";

  constructor(
    first: number,
    private readonly end: number,
    timeZone: string,
  ) {
    this.#clock = new OffsetClock(timeZone);
    this.#instant = first;
  }

  next(): boolean {
    const offset = this.#clock.at(this.#instant);
    const hour = Math.floor((this.#instant + offset) / HOUR_MS);
    const startMs = hour * HOUR_MS - offset;
    if (startMs >= this.end) return false;
    const day = Math.floor(hour / DAY_HOURS);
    if (day !== this.#day) [this.#day, this.#date] = [day, dateText(day)];
    if (offset !== this.#offset) [this.#offset, this.#ending] = [offset, offsetText(offset)];
    this.start = startMs / MINUTE_MS;
    this.name = this.#date + HOURS[hour - day * DAY_HOURS]! + this.#ending;
    // Where clocks are put to the middle of an hour meanwhile, its start is looked for again.
    this.#instant = startMs + HOUR_MS;
    return true;
  }
}

function offsetText(offsetMs: number): string {
  const minutes = Math.round(Math.abs(offsetMs) / MINUTE_MS);
  return `${offsetMs < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}
