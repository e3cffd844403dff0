/** The ledger of an import as CSV (RFC 4180), row by row. */
import type { LedgerRow } from "../../../services/import/ledger.js";

const COLUMNS = ["part", "position", "verdict", "reason", "message", "excerpt", "listenId"] as const;
const LINE_END = "\r\n";
/** Lines are sent together up to about this length. */
const CHUNK_LENGTH = 64 * 1024;

/** A spreadsheet takes a cell that begins like this for a formula, also in a file somebody else made. */
const FORMULA = /^[=+\-@\t\r]/;
const NEEDS_QUOTES = /[",\r\n]/;

function cell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const line = (row: LedgerRow): string => COLUMNS.map((column) => cell(row[column])).join(",") + LINE_END;

/** With a header line; reads no further ahead than it is read. */
export async function* ledgerCsv(rows: AsyncIterable<LedgerRow>): AsyncGenerator<string> {
  let pending = COLUMNS.join(",") + LINE_END;
  for await (const row of rows) {
    pending += line(row);
    if (pending.length < CHUNK_LENGTH) continue;
    yield pending;
    pending = "";
  }
  if (pending !== "") yield pending;
}
