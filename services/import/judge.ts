/** The verdict on one record: its format's, unless the import's options have more to say. */
import { optionsOf } from "./jobs.js";
import type { JobRow, PartRow } from "./jobs.js";
import type { ImportFormat, JudgeRecord, PartContext, RawRecord, Verdict } from "./types.js";
import { SKIP_REASONS } from "./verdicts.js";
import type { Logger } from "../../utils/logger.js";
import type { PlayRecord, RejectedRecord, SkippedRecord } from "./writing/batch.js";

export type JudgedRecord =
  | ({ readonly verdict: "play" } & PlayRecord)
  | ({ readonly verdict: "skipped" } & SkippedRecord)
  | ({ readonly verdict: "rejected" } & RejectedRecord);

export type Judge = (record: RawRecord) => JudgedRecord;

/** What of a format is needed to say which record could not be judged. */
type Named = Pick<ImportFormat, "name" | "excerpt">;

/**
 * Pure in the record, the part's name and the job's row, so that every attempt judges alike; of what a live API gave, also
 * in `now`, the time of its page in Unix milliseconds. A record is skipped for
 * the first reason that fits, in the order kind of content, private session, time range.
 */
export function createJudge(
  format: Named,
  judgeRecord: JudgeRecord,
  {
    job,
    part,
    log,
    now = job.created_at.getTime(),
  }: {
    readonly job: JobRow;
    readonly part: Pick<PartRow, "name" | "part_no">;
    readonly log: Logger;
    readonly now?: number;
  },
): Judge {
  const { includeIncognito, from, until } = optionsOf(job);
  const context: PartContext = { name: part.name, includeIncognito, now };
  const fromMs = from === null ? -Infinity : Date.parse(from);
  const untilMs = until === null ? Infinity : Date.parse(until);

  const judge = (value: unknown, position: number): Verdict => {
    try {
      return judgeRecord(value, context, position);
    } catch (cause) {
      // A format that throws has a fault, but only this record pays for it.
      log.error("a format failed to judge a record", {
        importId: job.id,
        format: format.name,
        part: part.part_no,
        position,
        cause,
      });
      return { verdict: "rejected", reason: "malformed", message: "The record could not be judged" };
    }
  };

  return (record) => {
    const { position } = record;
    if ("reason" in record) {
      const { reason, message, excerpt } = record;
      return { verdict: "rejected", position, reason, message, excerpt };
    }
    const judged = judge(record.value, position);
    if (judged.verdict === "rejected") {
      const message = record.line === undefined ? judged.message : `Line ${record.line}: ${judged.message}`;
      return { ...judged, message, position, excerpt: format.excerpt(record.value) };
    }
    if (judged.verdict === "play") {
      const { play } = judged;
      if (play.playedAt >= fromMs && play.playedAt < untilMs) return { verdict: "play", position, play };
    }
    const reason = judged.verdict === "play" ? "out_of_range" : judged.reason;
    const message = (judged.verdict === "play" ? undefined : judged.message) ?? SKIP_REASONS[reason].sentence;
    return { verdict: "skipped", position, reason, message, excerpt: format.excerpt(record.value) };
  };
}
