/**
 * Strict readers of the times in exports. `Date.parse` is none: it takes "2024" and "foo 5" for times and makes
 * 30 February the 1st of March.
 */

const ISO_UTC = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?Z$/;
const UTC_MINUTE = /^(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d)$/;

/** `2024-11-28T16:05:23Z`, with or without a fraction; Unix milliseconds, or null. */
export function parseIsoUtc(text: string): number | null {
  const match = ISO_UTC.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second] = match.map(Number);
  const time = fromParts(year, month, day, hour, minute, second);
  return time === null ? null : time + Number((match[7] ?? "").padEnd(3, "0").slice(0, 3));
}

/** `2023-01-14 01:24`, UTC; Unix milliseconds, or null. */
export function parseUtcMinute(text: string): number | null {
  const match = UTC_MINUTE.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute] = match.map(Number);
  return fromParts(year, month, day, hour, minute, 0);
}

function fromParts(
  year = NaN,
  month = NaN,
  day = NaN,
  hour = NaN,
  minute = NaN,
  second = NaN,
): number | null {
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return null;
  const date = new Date(0);
  // Not Date.UTC, which takes the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1) return null;
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000;
}
