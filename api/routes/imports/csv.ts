/** The ledger of an import as CSV (RFC 4180), row by row. */
import type { LedgerRow } from "../../../services/import/ledger.js";
import { csvLine } from "../../../utils/csv.js";

const COLUMNS = ["part", "position", "verdict", "reason", "message", "excerpt", "listenId"] as const;
/** Lines are sent together up to about this length. */
const CHUNK_LENGTH = 64 * 1024;

/** With a header line; reads no further ahead than it is read. */
export async function* ledgerCsv(rows: AsyncIterable<LedgerRow>): AsyncGenerator<string> {
  let pending = csvLine(COLUMNS);
  for await (const row of rows) {
    pending += csvLine(COLUMNS.map((column) => row[column]));
    if (pending.length < CHUNK_LENGTH) continue;
    yield pending;
    pending = "";
  }
  if (pending !== "") yield pending;
}
