/**
 * Google's activity about YouTube and YouTube Music as JSON: Takeout's watch history and MyActivity, and what the Data
 * Portability API delivers. Names of files and the wording of titles are in the language of the account; the keys are not.
 * There is no duration and no end: each record is the moment a video was opened.
 */
import type { FormatSample, ImportFormat, JudgeRecord, PartContext, Surveyor, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, excerptOf, instant, isRejected, rejected } from "./fields.js";
import { parseIsoUtc } from "./times.js";
import type { Opened } from "./youtubeActivity.js";
import { isYouTubeActivity, judgeActivity, SHOWN_FIELDS, videoOf } from "./youtubeActivity.js";
import type { ReadTitle } from "./youtubeTitles.js";
import { readKnownTitle, TitleSurvey } from "./youtubeTitles.js";

const CLOCK_SLACK_MS = 2000;

export const youtubeJson: ImportFormat = {
  name: "youtube-json",
  source: "youtube-json",
  container: "json-array",

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    return fields !== undefined && isYouTubeActivity(fields);
  },

  survey: { lookUps: [], begin },

  judge: (record: unknown, context: PartContext): Verdict => judgeWith(readKnownTitle, record, context),

  excerpt(record: unknown): string {
    return excerptOf(record, SHOWN_FIELDS);
  },
};

function begin(): Surveyor {
  const titles = new TitleSurvey();
  return {
    lookUp: () => undefined,
    see(record) {
      const fields = asFields(record);
      if (fields === undefined || videoOf(fields) === null) return;
      if (typeof fields["title"] === "string") titles.see(fields["title"]);
    },
    finish(): JudgeRecord {
      const readTitle = titles.finish();
      return (record, context) => judgeWith(readTitle, record, context);
    },
  };
}

function judgeWith(readTitle: ReadTitle, record: unknown, { now }: PartContext): Verdict {
  const fields = asFields(record);
  if (fields === undefined) return rejected("malformed", "The record is not an object");
  const readTime = (of: Fields): Opened | Rejected => {
    const atMs = instant(of, "time", parseIsoUtc, now);
    if (isRejected(atMs)) return atMs;
    return { atMs, earliestMs: atMs - CLOCK_SLACK_MS, latestMs: atMs + CLOCK_SLACK_MS };
  };
  return judgeActivity(fields, { family: "youtube-json", readTitle, readTime });
}
