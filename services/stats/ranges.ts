/** The range that a statistic is about, as clients write it. */
import { ValidationError } from "../../utils/errors.js";
import { type DayNumber, startOfDay } from "../../utils/timeZones.js";

/** A point in time, or a day (see utils/timeZones.ts) of the time zone of the statistic: its beginning is meant. */
export type Moment = Date | DayNumber;

export interface MomentRange {
  readonly from?: Moment;
  readonly until?: Moment;
}

/** `from <= t < until` */
export interface InstantRange {
  readonly from?: Date;
  readonly until?: Date;
}

/** The earliest time that PostgreSQL and ISO 8601 write alike. East of Greenwich the year 1 begins before it. */
const EARLIEST_MS = Date.UTC(2000, 0, 1) - 730_119 * 86_400_000;

export const namesDays = ({ from, until }: MomentRange): boolean =>
  typeof from === "number" || typeof until === "number";

/** Throws `ValidationError` for a range that ends before it begins. */
export function instantsOf({ from, until }: MomentRange, timeZone: string): InstantRange {
  const range = {
    ...(from === undefined ? {} : { from: instantOf(from, timeZone) }),
    ...(until === undefined ? {} : { until: instantOf(until, timeZone) }),
  };
  if (range.from !== undefined && range.until !== undefined && range.from > range.until) {
    const message = "from must not be later than until";
    throw new ValidationError(message, [{ path: "from", code: "bad_range", message }]);
  }
  return range;
}

const instantOf = (moment: Moment, timeZone: string): Date =>
  typeof moment === "number" ? new Date(Math.max(startOfDay(moment, timeZone), EARLIEST_MS)) : moment;

const DAY_MS = 86_400_000;
/** Two years, one of them a leap year. */
const SHORT_MS = 731 * DAY_MS;
const PART_OF_YEAR_MS = 300 * DAY_MS;

const isWithin = ({ from, until }: InstantRange, ms: number): boolean =>
  from !== undefined && until !== undefined && until.getTime() - from.getTime() <= ms;

/** Whether both ends are there, and no more than two years apart. */
export const isShort = (range: InstantRange): boolean => isWithin(range, SHORT_MS);

/** Whether the range is too short to have all the plays of a year in it, unless there are few. */
export const isPartOfYear = (range: InstantRange): boolean => isWithin(range, PART_OF_YEAR_MS);
