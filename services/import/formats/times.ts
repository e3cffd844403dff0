/**
 * Strict readers of the times in exports. `Date.parse` is none: it takes "2024" and "foo 5" for times and makes
 * 30 February the 1st of March.
 */

const ISO_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$/;
const UTC_MINUTE = /^\d{4}-\d\d-\d\d \d\d:\d\d$/;

/** `2024-11-28T16:05:23Z`, with or without a fraction; Unix milliseconds, or null. */
export function parseIsoUtc(text: string): number | null {
  if (!ISO_UTC.test(text)) return null;
  const second = digits(text, 17, 19);
  const minute = minuteOf(text);
  if (minute === null || second > 59) return null;
  const fraction = text.length > 20 ? Number(text.slice(20, -1).padEnd(3, "0").slice(0, 3)) : 0;
  return minute + second * 1000 + fraction;
}

/** `2023-01-14 01:24`, UTC; Unix milliseconds, or null. */
export function parseUtcMinute(text: string): number | null {
  return UTC_MINUTE.test(text) ? minuteOf(text) : null;
}

/** Of a text whose first 16 characters are known to be laid out as `2023-01-14?01:24`. */
function minuteOf(text: string): number | null {
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 7);
  const day = digits(text, 8, 10);
  const hour = digits(text, 11, 13);
  const minute = digits(text, 14, 16);
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59)
    return null;
  const time = Date.UTC(year, month - 1, day, hour, minute);
  // Date.UTC takes the years 0 to 99 for 1900 to 1999.
  return year < 100 ? new Date(time).setUTCFullYear(year, month - 1, day) : time;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function digits(text: string, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at += 1) value = value * 10 + text.charCodeAt(at) - 48;
  return value;
}

const ISO_OFFSET = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)(?:Z|([+-])(\d\d):?(\d\d))$/;
const MINUTE_MS = 60_000;

/** `2021-05-10 12:59:22+03:00`, also with `T`, or `Z` for UTC; Unix milliseconds, or null. Never without an offset. */
export function parseIsoOffset(text: string): number | null {
  const match = ISO_OFFSET.exec(text);
  if (match === null) return null;
  const [, date = "", time = "", sign, hours = "0", minutes = "0"] = match;
  const local = parseIsoUtc(`${date}T${time}Z`);
  if (local === null || Number(hours) > 23 || Number(minutes) > 59) return null;
  const offset = (Number(hours) * 60 + Number(minutes)) * MINUTE_MS;
  return sign === "-" ? local + offset : local - offset;
}

const DAY_FIRST = /^(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}),? (\d\d:\d\d)$/;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** `22 May 2014 20:11` as Last.fm writes it, UTC; Unix milliseconds, or null. */
export function parseDayFirstMinute(text: string): number | null {
  const [, day = "", month = "", year = "", time = ""] = DAY_FIRST.exec(text) ?? [];
  const number = MONTHS.indexOf(month) + 1;
  if (number === 0) return null;
  return parseUtcMinute(`${year}-${String(number).padStart(2, "0")}-${day.padStart(2, "0")} ${time}`);
}
