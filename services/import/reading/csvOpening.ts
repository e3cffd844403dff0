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

/** All ways to read the first line of `text`, the one with commas first. Empty for what cannot be CSV. */
export function csvOpenings(text: Buffer): CsvOpening[] {
  const latin = text.toString("latin1");
  const body = latin.startsWith(BOM) ? latin.slice(BOM.length) : latin;
  const newline = newlineOf(body, true) ?? "\n";
  if (body.slice(0, 1024).includes("\0")) return [];
  return ([",", ";", "\t"] as const).map((delimiter) => {
    const { data } = Papa.parse<string[]>(body, { delimiter, newline, preview: 1 });
    const columns = (data[0] ?? []).map(headerName);
    const hasMore = body.slice(body.indexOf(newline) + 1).trim() !== "" && body.includes(newline);
    return { columns, delimiter, repeated: repeatedName(columns), hasMore };
  });
}

/** Null while it cannot be told. */
export function newlineOf(text: string, isOver: boolean): "\n" | "\r" | null {
  const at = text.search(/[\r\n]/);
  if (at < 0) return isOver ? "\n" : null;
  if (text[at] === "\n") return "\n";
  if (at + 1 === text.length) return isOver ? "\r" : null;
  return text[at + 1] === "\n" ? "\n" : "\r";
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
