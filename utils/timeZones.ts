/** IANA time zones: the local time of an instant, and where a local day begins. From the tables of Node's ICU. */
import { daysInMonth } from "./time.js";

const SECOND_MS = 1000;
const DAY_MS = 86_400_000;

/**
 * Names only: where Node takes an offset for a zone, PostgreSQL reads it with the opposite sign, and it also takes
 * rules of summer time that Node does not know.
 */
const NAME = /^[A-Za-z][A-Za-z0-9_+-]*(?:\/[A-Za-z0-9_+-]+){0,2}$/;
const MAX_NAME = 64;

/** More than there are zones and usual spellings of them; any more start anew. */
const MAX_KNOWN = 2000;
const formats = new Map<string, Intl.DateTimeFormat>();

/**
 * The zone's own name for any spelling and most former names of it: two names of one zone give the same. Null when
 * there is no such zone.
 */
export function canonicalTimeZone(name: string): string | null {
  if (name.length > MAX_NAME || !NAME.test(name)) return null;
  try {
    return formatOf(name).resolvedOptions().timeZone;
  } catch {
    return null;
  }
}

export const isTimeZone = (name: string): boolean => canonicalTimeZone(name) !== null;

/** Throws `RangeError` for a zone that does not exist. */
function formatOf(timeZone: string): Intl.DateTimeFormat {
  const known = formats.get(timeZone);
  if (known !== undefined) return known;
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    calendar: "gregory",
    hourCycle: "h23",
    era: "short",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  if (formats.size >= MAX_KNOWN) formats.clear();
  formats.set(timeZone, format);
  return format;
}

/** Milliseconds to add to an instant to get what clocks in the zone show, as if that were UTC. */
export function offsetAt(instantMs: number, timeZone: string): number {
  const parts: Record<string, string> = {};
  for (const { type, value } of formatOf(timeZone).formatToParts(instantMs)) parts[type] = value;
  const part = (name: string): number => Number(parts[name]);
  const year = parts["era"]?.startsWith("B") === true ? 1 - part("year") : part("year");
  const local = new Date(0);
  local.setUTCFullYear(year, part("month") - 1, part("day"));
  local.setUTCHours(part("hour"), part("minute"), part("second"));
  return local.getTime() - Math.floor(instantMs / SECOND_MS) * SECOND_MS;
}

/** Days since 1970-01-01. */
export type DayNumber = number;

const LOCAL_DATE = /^(\d{4})-(\d{2})-(\d{2})$/;

/** `2024-02-29`, checked against the calendar, from year 1 on; null for anything else. */
export function parseLocalDate(text: string): DayNumber | null {
  const match = LOCAL_DATE.exec(text);
  if (match === null) return null;
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return null;
  return dayNumber(year, month, day);
}

/** `month` is 1-12, and may be beyond: 13 is January of the next year. */
export function dayNumber(year: number, month: number, day: number): DayNumber {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // Date.UTC would move the years 0-99 to 1900-1999
  return date.getTime() / DAY_MS;
}

export const dateText = (day: DayNumber): string => new Date(day * DAY_MS).toISOString().slice(0, 10);

/** The day that calendars in the zone show at an instant. */
export const localDay = (instantMs: number, timeZone: string): DayNumber =>
  Math.floor((instantMs + offsetAt(instantMs, timeZone)) / DAY_MS);

/**
 * The first instant at which calendars in the zone show this day, in milliseconds. That is not always midnight:
 * where clocks go forward at midnight the day begins at 01:00. Where they go back over midnight it begins at the
 * first of the two. A day that a zone has left out begins with the next one.
 */
export function startOfDay(day: DayNumber, timeZone: string): number {
  const midnight = day * DAY_MS;
  // Offsets on either side of any change of clocks that can matter: a day begins within 14 hours of midnight UTC.
  const offsets = [-DAY_MS, 0, DAY_MS].map((away) => offsetAt(midnight + away, timeZone));
  const starts = offsets
    .map((offset) => midnight - offset)
    .filter((start) => localDay(start, timeZone) >= day);
  return Math.min(...starts);
}

/** Clocks are nowhere put twice within so short a time. */
const STEADY_MS = 7 * DAY_MS;

/** Longest first: a year has some fifty, of which two have a change. */
const SPANS_MS = [STEADY_MS, DAY_MS];
/** Spans of which it is remembered whether clocks are put in them, about 50 bytes each. */
const MAX_SPANS = 100_000;
const spans = new Map<string, number | null>();

/** The offset that holds in all of this span, `index` spans after 1970; null when it is not one. */
function steadyOffset(spanMs: number, index: number, timeZone: string): number | null {
  const key = `${spanMs} ${index} ${timeZone}`;
  const known = spans.get(key);
  if (known !== undefined) return known;
  const offset = offsetAt(index * spanMs, timeZone);
  const steady = offsetAt((index + 1) * spanMs, timeZone) === offset ? offset : null;
  if (spans.size >= MAX_SPANS) spans.clear();
  spans.set(key, steady);
  return steady;
}

/** Offsets of many instants in rising order: a look at what is known of each week, not at the zone for each instant. */
export class OffsetClock {
  #from = Infinity;
  /** Exclusive. */
  #until = -Infinity;
  #offset = 0;

  constructor(private readonly timeZone: string) {}

  /** As `offsetAt`. */
  at(instantMs: number): number {
    if (instantMs < this.#from || instantMs >= this.#until) this.#turnTo(instantMs);
    return this.#offset;
  }

  #turnTo(instantMs: number): void {
    for (const span of SPANS_MS) {
      const index = Math.floor(instantMs / span);
      const offset = steadyOffset(span, index, this.timeZone);
      if (offset === null) continue;
      this.#offset = offset;
      this.#from = index * span;
      this.#until = this.#from + span;
      return;
    }
    this.#offset = offsetAt(instantMs, this.timeZone);
    this.#from = instantMs;
    this.#until = instantMs;
  }
}
