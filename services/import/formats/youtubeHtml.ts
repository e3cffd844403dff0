/**
 * Google's activity about YouTube and YouTube Music as a web page, which Takeout makes unless JSON is asked for. The link in
 * an entry tells title and video in every language; only the date has to be understood (see youtubeDates.ts).
 */
import type { ActivityCell } from "../reading/htmlCells.js";
import type { FormatSample, ImportFormat, JudgeRecord, PartContext, Surveyor, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, excerptOf, instant, isRejected, rejected } from "./fields.js";
import type { Opened } from "./youtubeActivity.js";
import { ADS, isYouTubeActivity, judgeActivity, SHOWN_FIELDS } from "./youtubeActivity.js";
import type { ReadDate } from "./youtubeDates.js";
import { DateSurvey, readAnyDate } from "./youtubeDates.js";
import type { WatchedTitle } from "./youtubeTitles.js";
import { readKnownTitle } from "./youtubeTitles.js";

const ADVICE = "choose JSON for the history when the export is made, and import that";

export const youtubeHtml: ImportFormat = {
  name: "youtube-html",
  source: "youtube-html",
  container: "html-cells",

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = fieldsOf(firstRecord);
    return fields !== undefined && isYouTubeActivity(fields);
  },

  survey: { lookUps: [], begin },

  judge: (record: unknown, context: PartContext): Verdict => judgeWith(readAnyDate, record, context),

  excerpt(record: unknown): string {
    return excerptOf(fieldsOf(record), SHOWN_FIELDS);
  },
};

function begin(): Surveyor {
  const dates = new DateSurvey();
  return {
    lookUp: () => undefined,
    see(record) {
      const time = fieldsOf(record)?.["time"];
      if (typeof time === "string") dates.see(time);
    },
    finish(): JudgeRecord {
      const readDate = dates.finish();
      return (record, context) => judgeWith(readDate, record, context);
    },
  };
}

/** An entry as the record that the JSON export would have for it, but for the time and the words around the title. */
function fieldsOf(record: unknown): Fields | undefined {
  if (!isCell(record)) return undefined;
  const { header, body, caption } = record;
  const [first, ...rest] = body;
  const time = rest.at(-1);
  const title = first?.links[0];
  const channel = rest.slice(0, -1).find(({ links }) => links.length > 0)?.links[0];
  return {
    header,
    title: title?.text ?? first?.text,
    ...(title === undefined ? {} : { titleUrl: title.href }),
    ...(channel === undefined ? {} : { subtitles: [{ name: channel.text, url: channel.href }] }),
    time: time?.text,
    details: caption.filter((name) => ADS.test(name)).map((name) => ({ name })),
  };
}

function isCell(record: unknown): record is ActivityCell {
  const fields = asFields(record);
  return fields !== undefined && Array.isArray(fields["body"]) && Array.isArray(fields["caption"]);
}

function judgeWith(readDate: ReadDate, record: unknown, { now }: PartContext): Verdict {
  const fields = fieldsOf(record);
  if (fields === undefined) return rejected("malformed", "The record is no entry of an activity page");
  const readTitle = (sentence: string): WatchedTitle => {
    if ("titleUrl" in fields) return { kind: "watched", title: sentence.trim() };
    const title = readKnownTitle(sentence);
    return title.kind === "unknown" ? { kind: "other" } : title;
  };
  const readTime = (of: Fields): Opened | Rejected => timeOf(of, readDate, now);
  return judgeActivity(fields, { family: "youtube-html", readTitle, readTime });
}

function timeOf(fields: Fields, readDate: ReadDate, now: number): Opened | Rejected {
  const { time } = fields;
  if (typeof time !== "string") return rejected("missing_field", "The entry has no date");
  const found = readDate(time);
  if (found === null)
    return rejected("unsupported_locale", `The date is in a language that cannot be read: ${ADVICE}`);
  if ("unknownZone" in found)
    return rejected("bad_time", `The time zone ${found.unknownZone} is not known: ${ADVICE}`);
  const atMs = instant(fields, "time", () => found.atMs, now);
  return isRejected(atMs) ? atMs : found;
}
