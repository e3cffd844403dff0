/** Rows of a user as records of an export, page by page: no statement is long, and nothing is held between two pages. */
import type { Pool } from "pg";
import type { ExportedTable } from "./tables.js";

export type ExportRecord = Readonly<Record<string, unknown>>;
type Row = Record<string, unknown>;

export const PAGE_ROWS = 1000;

/** Which rows: of a user, or of an import. */
export interface Owner {
  readonly column: "user_id" | "job_id";
  readonly id: string;
}

/** In order of the key, in pages. What is added while it is read may or may not be in it; nothing is in it twice. */
export async function* recordsOf(
  pool: Pool,
  { table, columns, key }: ExportedTable,
  { column, id }: Owner,
): AsyncGenerator<readonly ExportRecord[]> {
  const order = key.join(", ");
  const places = key.map((_, index) => `$${index + 3}`).join(", ");
  // All names come from tables.ts. The subselect keeps the planner from reading everybody's rows in order of the key.
  const page = (condition: string): string =>
    `select ${columns.join(", ")} from ${table} where ${column} = (select $1::uuid) ${condition} order by ${order} limit $2`;
  for (let last: Row | undefined; ;) {
    const from = last;
    const { rows } = await pool.query<Row>(page(from === undefined ? "" : `and (${order}) > (${places})`), [
      id,
      PAGE_ROWS,
      ...(from === undefined ? [] : key.map((name) => from[name])),
    ]);
    if (rows.length > 0) yield rows.map(toRecord);
    if (rows.length < PAGE_ROWS) return;
    last = rows.at(-1);
  }
}

/** Names as in the API, times in UTC, bytes as hexadecimal digits. */
export const toRecord = (row: Row): ExportRecord =>
  Object.fromEntries(Object.entries(row).map(([name, value]) => [camelCase(name), exported(value)]));

const camelCase = (name: string): string =>
  name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

const exported = (value: unknown): unknown => (Buffer.isBuffer(value) ? value.toString("hex") : value);

/** One line each. */
export const jsonLines = (records: readonly ExportRecord[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join("");
