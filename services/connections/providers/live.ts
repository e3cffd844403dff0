/** Records of live APIs are judged as those of a file, but nothing of them can lie far ahead: they were fetched just now. */
import { rejected } from "../../import/formats/fields.js";
import type { ImportFormat, Verdict } from "../../import/types.js";
import type { LiveFormat } from "./types.js";

const CLOCK_TOLERANCE_MS = 60 * 60 * 1000;

export function notAhead(verdict: Verdict, now: number): Verdict {
  return verdict.verdict === "play" && verdict.play.playedAt > now + CLOCK_TOLERANCE_MS
    ? rejected("time_out_of_range", "The play is more than an hour after the time of the sync")
    : verdict;
}

/** The same rows under the same keys as in files of `format`, so that a file and a sync of one history add nothing. */
export function liveAs(name: string, format: ImportFormat): LiveFormat {
  return {
    name,
    source: format.source,
    judge: (record, context) => notAhead(format.judge(record, context), context.now),
    excerpt: (record) => format.excerpt(record),
  };
}
