/** The first line of a CSV file: how its lines end, what its columns are called, and what else it could be. */
import Papa from "papaparse";

export const BOM = "\xef\xbb\xbf";

/** What the first line of a file says, for recognising formats. */
export interface CsvOpening {
  /** Cells of the first line, split at the delimiter. */
  readonly columns: readonly string[];
  readonly delimiter: "," | ";" | "\t";
  /** A name that occurs twice. */
  readonly repeated: string | undefined;
  /** Something follows the first line. */
  readonly hasMore: boolean;
}

/** A first line is looked for in so many bytes; no header needs as many. */
export const OPENING_BYTES = 64 * 1024;

/**
 * All ways to read the first line of `text`, the one with commas first. Empty for what cannot be CSV. What stands behind
 * that line makes no difference, however much of it is there.
 */
export function csvOpenings(text: Buffer): CsvOpening[] {
  const latin = text.toString("latin1", 0, OPENING_BYTES);
  const body = (latin.startsWith(BOM) ? latin.slice(BOM.length) : latin).replace(/^[\r\n]+/, "");
  const newline = newlineOf(body, true) ?? "\n";
  const end = endOfFirstLine(body);
  const line = end < 0 ? body : body.slice(0, end);
  // In a row below it would be one bad record.
  if (line.includes("\0")) return [];
  return ([",", ";", "\t"] as const).map((delimiter) => {
    const { data } = Papa.parse<string[]>(line, { delimiter, newline, preview: 1 });
    const columns = (data[0] ?? []).map(headerName);
    const hasMore = /[\r\n]\s*\S/.test(body);
    return { columns, delimiter, repeated: repeatedName(columns), hasMore };
  });
}

/** Place of the first line break that is not between quotes; -1 while there is none. */
export function endOfFirstLine(text: string): number {
  let inQuotes = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '"') inQuotes = !inQuotes;
    else if (!inQuotes && (character === "\n" || character === "\r")) return at;
  }
  return -1;
}

/**
 * Null while it cannot be told. Lines that were given CRLF twice, as CR CR LF, end at their LF like any; what is left of
 * the CRs belongs to no cell.
 */
export function newlineOf(text: string, isOver: boolean): "\n" | "\r" | null {
  let at = text.search(/[\r\n]/);
  if (at < 0) return isOver ? "\n" : null;
  const first = text[at];
  while (text[at] === "\r") at += 1;
  if (at === text.length) return isOver ? "\r" : null;
  return first === "\n" || text[at] === "\n" ? "\n" : "\r";
}

export const utf8 = (latin: string): string => Buffer.from(latin, "latin1").toString("utf8");

export const headerName = (cell: string): string => utf8(cell).trim();

export function repeatedName(names: readonly string[]): string | undefined {
  const seen = new Set<string>();
  for (const name of names) {
    if (name !== "" && seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}
