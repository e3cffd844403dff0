/**
 * Dates of Google's activity pages, which are written in the language of the account and in its time zone: "Jan 13, 2024,
 * 4:16:16 PM TRT", "13.01.2024, 16:16:16 MEZ". The names of months and the order of the parts are those of `Intl`.
 */
import type { Opened } from "./youtubeActivity.js";
import { offsetsOf } from "./youtubeZones.js";

/** English first. Languages whose pages use another calendar or other digits are not among them. */
const LOCALES = [
  ..."en-US en-GB en-CA en-IN de fr es it pt-BR pt-PT nl sv da nb fi pl cs sk sl hr hu ro bg ru uk".split(
    " ",
  ),
  ..."tr el ca et lv lt id vi ja ko zh-CN zh-TW".split(" "),
];
const MONTHS = Array.from({ length: 12 }, (_, month) => month);
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
/** Words for morning and afternoon that pages use where `Intl` has others. */
const PERIODS: Readonly<Record<string, readonly string[]>> = { ko: ["오전", "오후"] };
const LONGEST_DATE = 100;
const CLOCK_SLACK_MS = 2000;
const MINUTE_MS = 60_000;
const SECONDS_KNOWN_MS = 999;

/** What stands between two parts that are no numbers side by side; a word only where the language has one: "2024年1月13日". */
const GAP = String.raw`(?:[\s\p{P}]+(?:(?:at|à|às|um|kl)\s+)?)`;
const WORD_GAP = String.raw`(?:[\s\p{P}]+(?:\p{L}{1,5}[\s\p{P}]*)??|\p{L}{1,5}[\s\p{P}]*)`;
const SPACE = String.raw`[\s\p{P}]*`;
const ZONE = String.raw`(?<zone>(?:gmt|utc)(?:[+\-−]\d{1,2}(?::?\d{2})?)?|\p{L}{1,6})?`;

/** Null: not a date of this language. Without known zone: `zone` names what is not known. */
export type ReadDate = (text: string) => Opened | { readonly unknownZone: string } | null;

/** Dates that are looked at to tell the language of a page. */
const SAMPLE_DATES = 200;

export class DateSurvey {
  readonly #dates = new Set<string>();

  see(text: string): void {
    if (this.#dates.size < SAMPLE_DATES) this.#dates.add(text);
  }

  /** The reader of the language that most of the dates can be of; the first of those that have as many. */
  finish(): ReadDate {
    let best: ReadDate = () => null;
    let most = 0;
    for (const locale of LOCALES) {
      const read = readerOf(locale);
      const count = [...this.#dates].filter((date) => read(date) !== null).length;
      if (count > most) [best, most] = [read, count];
      if (most === this.#dates.size) break;
    }
    return best;
  }
}

/** Without a survey: of the first language that fits. */
export const readAnyDate: ReadDate = (text) => {
  for (const locale of LOCALES) {
    const found = readerOf(locale)(text);
    if (found !== null) return found;
  }
  return null;
};

const readers = new Map<string, ReadDate>();

/** Made when first needed: `Intl` takes some time for each language. */
function readerOf(locale: string): ReadDate {
  const reader = readers.get(locale) ?? makeReader(locale);
  readers.set(locale, reader);
  return reader;
}

function makeReader(locale: string): ReadDate {
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "long", timeZone: "UTC" });
  const months = monthsOf(locale, format);
  const hours = hoursOf(locale, format);
  const parts = format.formatToParts(Date.UTC(2024, 0, 13, 16, 16, 16));
  const patterns = parts.map((part, at) => patternOf(part, parts[at + 1]?.type, months, hours));
  const pattern = new RegExp(`^${patterns.join("")}$`, "u");
  return (text) => {
    if (text.length > LONGEST_DATE) return null;
    const found = pattern.exec(normal(text))?.groups;
    if (found === undefined) return null;
    const { day, year, minute, second, period = "", hour = "", month = "", zone = "" } = found;
    const monthIndex = months.get(month) ?? Number(month) - 1;
    const hour24 = hours.get(hourKey(period, Number(hour))) ?? (period === "" ? Number(hour) : NaN);
    const local = localTime([Number(year), monthIndex, Number(day), hour24, Number(minute), Number(second)]);
    if (local === null) return null;
    const offsets = offsetsOf(zone.toUpperCase(), locale);
    if (offsets === null) return { unknownZone: zone.toUpperCase() };
    return {
      atMs: local - offsets.likely * MINUTE_MS,
      earliestMs: local - offsets.largest * MINUTE_MS - CLOCK_SLACK_MS,
      latestMs: local - offsets.smallest * MINUTE_MS + SECONDS_KNOWN_MS + CLOCK_SLACK_MS,
    };
  };
}

/** Of one part of a date as `Intl` writes it; `next`: the type of the part behind it. */
function patternOf(
  { type, value }: Intl.DateTimeFormatPart,
  next: Intl.DateTimeFormatPartTypes | undefined,
  months: ReadonlyMap<string, number>,
  hours: ReadonlyMap<string, number>,
): string {
  switch (type) {
    case "day":
    case "hour":
      return String.raw`(?<${type}>\d{1,2})`;
    case "minute":
    case "second":
      return String.raw`(?<${type}>\d{2})`;
    case "year":
      return String.raw`(?<year>\d{4})`;
    case "month":
      return /^\d+$/.test(value) ? String.raw`(?<month>\d{1,2})` : `(?<month>${oneOf([...months.keys()])})`;
    case "dayPeriod": {
      const periods = [...hours.keys()].map((key) => key.replace(/\|.*$/, ""));
      return `(?<period>${oneOf([...new Set(periods)])})?`;
    }
    case "timeZoneName":
      return ZONE;
    default:
      if (/\p{L}/u.test(value)) return WORD_GAP;
      // The zone may be missing, and so may the space in front of what tells morning from afternoon.
      return next === "timeZoneName" || next === "dayPeriod" ? SPACE : GAP;
  }
}

function monthsOf(locale: string, format: Intl.DateTimeFormat): Map<string, number> {
  const months = new Map<string, number>();
  const others = (["short", "long"] as const).map(
    (month) => new Intl.DateTimeFormat(locale, { day: "numeric", month, timeZone: "UTC" }),
  );
  for (const each of [format, ...others]) {
    for (const month of MONTHS) {
      const name = each.formatToParts(Date.UTC(2024, month, 13)).find(({ type }) => type === "month")?.value;
      if (name !== undefined && !/^\d+$/.test(name)) months.set(normal(name), month);
    }
  }
  return months;
}

/** Hours of the day by what stands for them: `pm|4`. */
function hoursOf(locale: string, format: Intl.DateTimeFormat): Map<string, number> {
  const hours = new Map<string, number>();
  for (const hour of HOURS) {
    const parts = format.formatToParts(Date.UTC(2024, 0, 13, hour));
    const textOf = (wanted: string): string => parts.find(({ type }) => type === wanted)?.value ?? "";
    hours.set(hourKey(normal(textOf("dayPeriod")), Number(textOf("hour"))), hour);
    const period = PERIODS[locale]?.[Math.floor(hour / 12)];
    if (period !== undefined) hours.set(hourKey(normal(period), hour % 12 === 0 ? 12 : hour % 12), hour);
  }
  return hours;
}

const hourKey = (period: string, hour: number): string => `${period}|${hour}`;

/** Abbreviations come with and without dots, spaces in several widths. */
function normal(text: string): string {
  return text.normalize("NFKC").toLowerCase().replace(/\./g, " ").replace(/\s+/g, " ").trim();
}

function oneOf(texts: readonly string[]): string {
  const longestFirst = texts.filter((text) => text !== "").sort((a, b) => b.length - a.length);
  return longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`)).join("|");
}

/** As if it were UTC; null when the day or the hour does not exist. */
function localTime(parts: readonly [number, number, number, number, number, number]): number | null {
  const [year, month, day, hour, minute, second] = parts;
  const time = Date.UTC(year, month, day, hour, minute, second);
  if (Number.isNaN(time) || hour > 23 || minute > 59 || second > 59) return null;
  const date = new Date(time);
  return date.getUTCMonth() === month && date.getUTCDate() === day ? time : null;
}
