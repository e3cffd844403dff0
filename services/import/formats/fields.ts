/** Reading single fields of untrusted records: a value of the right kind, nothing, or the reason for refusing the record. */
import { UNKNOWN_ARTIST_KEY } from "../../catalog/findOrCreate.js";
import { cutToBytes, EXCERPT_MAX_BYTES, rawExcerpt } from "../reading/excerpt.js";
import type { Verdict } from "../types.js";
import type { RejectReason } from "../verdicts.js";

export type Rejected = Extract<Verdict, { readonly verdict: "rejected" }>;
export type Fields = Readonly<Record<string, unknown>>;

const TEXT_MAX_BYTES = 4096;
const CONTEXT_MAX_LENGTH = 200;
/** PostgreSQL's integer, which stores milliseconds played: 24 days. */
const MAX_MILLISECONDS = 2 ** 31 - 1;
const EARLIEST_MS = Date.UTC(2000, 0, 1);
const CLOCK_TOLERANCE_MS = 24 * 60 * 60 * 1000;

/** How much earlier than end minus milliseconds heard a play may have begun: pauses count in neither. */
export const PAUSE_SLACK_MS = 10 * 60 * 1000;

/** Of a play whose source names no artist: the reserved one, under which songs are told apart by their albums too. */
export const UNKNOWN_ARTIST = UNKNOWN_ARTIST_KEY;

const LATIN = /^[\x20-\xff]*$/;

export function rejected(reason: RejectReason, message: string): Rejected {
  return { verdict: "rejected", reason, message };
}

export function isRejected(value: unknown): value is Rejected {
  return typeof value === "object" && value !== null && "verdict" in value;
}

/** The record as an object with fields, or undefined when it is none. */
export function asFields(record: unknown): Fields | undefined {
  return typeof record === "object" && record !== null && !Array.isArray(record)
    ? (record as Fields)
    : undefined;
}

/** Whether a field says anything: not absent, null, or blank text (as hand-anonymised files have it). */
export function hasValue(fields: Fields, name: string): boolean {
  const value = fields[name];
  return typeof value === "string" ? value.trim() !== "" : value !== undefined && value !== null;
}

/** Text to show, as given, but storable: lone surrogates become U+FFFD. Null when the field says nothing. */
export function displayText(fields: Fields, name: string): string | null | Rejected {
  if (!hasValue(fields, name)) return null;
  const value = fields[name];
  if (typeof value !== "string") return rejected("malformed", `${name} is not text`);
  if (value.includes("\0")) return rejected("text_nul", `${name} contains the character NUL`);
  // A UTF-16 unit is at most three bytes, so most texts need no counting.
  if (value.length * 3 > TEXT_MAX_BYTES && Buffer.byteLength(value) > TEXT_MAX_BYTES) {
    return rejected("too_long", `${name} is longer than ${TEXT_MAX_BYTES} bytes`);
  }
  return LATIN.test(value) ? value : value.replace(/\p{Surrogate}/gu, "\ufffd");
}

/** Like `displayText`, for a text that every play needs. */
export function requiredText(fields: Fields, name: string): string | Rejected {
  return displayText(fields, name) ?? rejected("missing_field", `${name} is missing`);
}

/** A whole number of milliseconds that can be stored. */
export function milliseconds(fields: Fields, name: string): number | Rejected {
  const value = fields[name];
  if (value === undefined) return rejected("missing_field", `${name} is missing`);
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > MAX_MILLISECONDS) {
    return rejected("bad_number", `${name} is not a whole number of milliseconds`);
  }
  return value;
}

/** A point in time in Unix milliseconds, read by `parse` and inside the range that plays can have. */
export function instant(
  fields: Fields,
  name: string,
  parse: (text: string) => number | null,
  now: number,
): number | Rejected {
  const value = fields[name];
  if (value === undefined) return rejected("missing_field", `${name} is missing`);
  const time = typeof value === "string" ? parse(value) : null;
  if (time === null) return rejected("bad_time", `${name} is not a time of the form this export uses`);
  if (time < EARLIEST_MS) return rejected("time_out_of_range", `${name} is before 2000-01-01`);
  if (time > now + CLOCK_TOLERANCE_MS) {
    return rejected("time_out_of_range", `${name} is more than a day after the import began`);
  }
  return time;
}

/** Short text for a play's context; undefined for what is absent, unknown to the source, or no such text. */
export function contextText(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  if (typeof value !== "string" || value.length > CONTEXT_MAX_LENGTH) return undefined;
  const text = value.trim();
  return text === "" || text === "unknown" || /[\p{Cc}\p{Surrogate}]/u.test(text) ? undefined : text;
}

export function contextFlag(fields: Fields, name: string): boolean | undefined {
  const value = fields[name];
  return typeof value === "boolean" ? value : undefined;
}

/** `record` reduced to `names`, as JSON of at most 1 KB. A list of what may be shown: anything else could be personal. */
export function excerptOf(record: unknown, names: readonly string[]): string {
  const fields = asFields(record);
  if (fields === undefined) return rawExcerpt(JSON.stringify(record) ?? String(record));
  const shown = Object.fromEntries(
    names
      .filter((name) => fields[name] !== undefined && fields[name] !== null)
      .map((name) => [name, fields[name]]),
  );
  return cutToBytes(JSON.stringify(shown), EXCERPT_MAX_BYTES);
}
