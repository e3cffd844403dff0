/**
 * Apple Music's Play History Daily Tracks: what was played on a day and how often, without times. A row with Play Count n
 * is n plays of that day, each a record of its own; one with 0 is no play.
 */
import { countsAsListen } from "../../history/listenRule.js";
import { appleDailyKey } from "../../history/sourceKey.js";
import type { ImportFormat, Play, Verdict } from "../types.js";
import { cellOf, contextOf, numberIfAny, splitDescription, wholeNumber } from "./appleValues.js";
import type { Fields, Rejected } from "./fields.js";
import {
  asFields,
  contextText,
  excerptOf,
  instant,
  isRejected,
  rejected,
  requiredText,
  UNKNOWN_ARTIST,
} from "./fields.js";
import { parseIsoUtc } from "./times.js";

const DATE = "Date Played";
const DESCRIPTION = "Track Description";
const COUNT = "Play Count";
const COLUMNS = [
  DATE,
  "Track Identifier",
  DESCRIPTION,
  COUNT,
  "Play Duration Milliseconds",
  "End Reason Type",
  "Source Type",
  "Media type",
];
/** Which of the plays of its row a record is, from 1. */
const ORDINAL = "ordinal";

/** More than one a minute, all day long. */
const MAX_PLAYS_A_DAY = 1440;
const HOUR_MS = 60 * 60 * 1000;
/** The date is the listener's, who may live anywhere from UTC-12 to UTC+14. */
const EARLIEST_BEFORE_MS = 14 * HOUR_MS;
const LATEST_AFTER_MS = 36 * HOUR_MS;
const SHOWN_AT_MS = 12 * HOUR_MS;
const DAY = /^\d{8}(?:\.0+)?$/;

export const appleDaily: ImportFormat = {
  name: "apple-daily",
  source: "apple-daily",
  container: "csv",
  csv: { wanted: COLUMNS, header: true },

  recognises: ({ columns = [] }) => [DATE, DESCRIPTION, COUNT].every((name) => columns.includes(name)),

  *expand(record) {
    const fields = asFields(record);
    const count = fields === undefined ? null : numberIfAny(fields, COUNT);
    if (count === null || count < 2 || count > MAX_PLAYS_A_DAY) yield record;
    else for (let ordinal = 1; ordinal <= count; ordinal += 1) yield { ...fields, [ORDINAL]: ordinal };
  },

  judge(record, context): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    if (cellOf(fields, "Media type") === "VIDEO")
      return { verdict: "skipped", reason: "video", message: "A music video" };
    if (cellOf(fields, DESCRIPTION) === "") return { verdict: "skipped", reason: "removed" };
    const count = wholeNumber(fields, COUNT) ?? rejected("missing_field", `${COUNT} is missing`);
    if (isRejected(count)) return count;
    if (count === 0) return { verdict: "skipped", reason: "not_a_play", message: "Not played on that day" };
    if (count < 0 || count > MAX_PLAYS_A_DAY)
      return rejected("bad_number", `${COUNT} is not between 0 and ${MAX_PLAYS_A_DAY}`);
    const play = readPlay(fields, count, context.now);
    return isRejected(play) ? play : { verdict: "play", play };
  },

  excerpt: (record) => excerptOf(record, COLUMNS),
};

function readPlay(fields: Fields, count: number, now: number): Play | Rejected {
  const date = instant(fields, DATE, parseDay, now);
  if (isRejected(date)) return date;
  const total = wholeNumber(fields, "Play Duration Milliseconds");
  if (isRejected(total)) return total;
  const description = requiredText(fields, DESCRIPTION);
  if (isRejected(description)) return description;

  const { artist, title } = splitDescription(description);
  // The row has the sum of its plays only.
  const msPlayed = total === null || total < 0 ? null : Math.floor(total / count);
  const ordinal = fields[ORDINAL];
  const platform = contextText(fields, "Source Type");
  return {
    source: "apple-daily",
    sourceKey: appleDailyKey({
      dateMs: date,
      trackIdentifier: given(fields, "Track Identifier"),
      description,
      sourceType: given(fields, "Source Type"),
      endReasonType: given(fields, "End Reason Type"),
      ordinal: typeof ordinal === "number" ? ordinal : 1,
    }),
    playedAt: date + SHOWN_AT_MS,
    endedAt: null,
    startEarliest: date - EARLIEST_BEFORE_MS,
    startLatest: date + LATEST_AFTER_MS,
    precision: "day",
    msPlayed,
    durationMs: null,
    counted: countsAsListen({ msPlayed, durationMs: null }),
    title,
    artist: artist ?? UNKNOWN_ARTIST,
    album: null,
    trackId: null,
    context: contextOf({
      ...(platform === undefined ? {} : { platform }),
      ...(artist === null ? { artistFrom: "unknown" } : {}),
    }),
  };
}

const given = (fields: Fields, name: string): string => {
  const value = fields[name];
  return typeof value === "string" ? value : "";
};

/** `20150630`, its beginning in UTC as Unix milliseconds. */
function parseDay(text: string): number | null {
  const day = text.trim();
  if (!DAY.test(day)) return null;
  return parseIsoUtc(`${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6, 8)}T00:00:00Z`);
}
