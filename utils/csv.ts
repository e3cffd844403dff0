/** CSV as RFC 4180 has it, safe to open in a spreadsheet. */

/** A spreadsheet takes a cell that begins like this for a formula, also in a file somebody else made. */
const FORMULA = /^[=+\-@\t\r]/;
const NEEDS_QUOTES = /[",\r\n]/;
const LINE_END = "\r\n";

function cell(value: string | number | boolean | null): string {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  const text = FORMULA.test(value) ? `'${value}` : value;
  return NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** With its line end. Text that looks like a formula gets an apostrophe in front. */
export const csvLine = (cells: readonly (string | number | boolean | null)[]): string =>
  cells.map(cell).join(",") + LINE_END;
