import type { HistoryPage } from "../../../services/history/HistoryService.js";

/** The page as JSON text. Its plays are JSON already: this puts the envelope around them. */
export function presentPage({ items, nextCursor, total }: HistoryPage): string {
  const count = total === undefined ? "" : `,"total":${total}`;
  return `{"data":[${items}],"nextCursor":${JSON.stringify(nextCursor)}${count}}`;
}
