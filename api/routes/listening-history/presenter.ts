import type { HistoryPage } from "../../../services/history/HistoryService.js";
import type { Recorded } from "../../../services/history/recording.js";
import type { JudgedListen } from "./input.js";

/** The page as JSON text. Its plays are JSON already: this puts the envelope around them. */
export function presentPage({ items, nextCursor, total, totalIsExact }: HistoryPage): string {
  const count = total === undefined ? "" : `,"total":${total},"totalIsExact":${String(totalIsExact)}`;
  return `{"data":[${items}],"nextCursor":${JSON.stringify(nextCursor)}${count}}`;
}

/** A verdict for each item. `recorded`: those of the items that tell of a play, in their order. */
export function presentBatch(judged: readonly JudgedListen[], recorded: readonly Recorded[]) {
  const verdicts = recorded.values();
  const data = judged.map((each) => {
    const verdict: Recorded =
      "errors" in each ? { status: "rejected", errors: each.errors } : verdicts.next().value!;
    return { index: each.index, ...presentVerdict(verdict) };
  });
  const of = (status: Recorded["status"]): number => data.filter((each) => each.status === status).length;
  const counts = {
    read: data.length,
    created: of("created"),
    duplicate: of("duplicate"),
    rejected: of("rejected"),
  };
  return { counts, data };
}

function presentVerdict(verdict: Recorded) {
  const { status } = verdict;
  if (status === "rejected") return { status, errors: verdict.errors };
  return verdict.id === null ? { status } : { status, id: verdict.id };
}
