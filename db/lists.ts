/** Long lists on their way to the server and back, as text: a tenth of what the driver's arrays and rows cost. */
import type { ClientBase } from "pg";

type Client = Pick<ClientBase, "query">;

/**
 * About how many bytes of rows a page of a list has, whatever its limit: the row that reaches this is the last. A thousand
 * rows are a tenth of it, unless somebody gave everything the longest names there can be.
 */
export const PAGE_MAX_BYTES = 4 * 1024 * 1024;

/** Collects the values of a statement and hands out their placeholders. */
export class Values {
  readonly list: unknown[] = [];
  add(value: unknown): string {
    return `$${this.list.push(value)}`;
  }
}

/** Numbers and nulls as a literal of an array of integers. */
export const numberArray = (values: readonly (number | null)[]): string =>
  `{${values.map((value) => value ?? "NULL").join(",")}}`;

/** Texts as a literal of a text[]. */
export const textArray = (values: readonly string[]): string => `{${values.map(quoted).join(",")}}`;

const quoted = (text: string): string => `"${/["\\]/.test(text) ? text.replace(/["\\]/g, "\\$&") : text}"`;

/** What `string_agg(x::text, ',')` gives of integers; null stands for none at all. */
export const numbersOf = (list: string | null): number[] =>
  list === null ? [] : list.split(",").map(Number);

/** Tables that take the ids of their new rows from here. */
export type NumberedTable = "artists" | "albums" | "tracks" | "listening_history";

/** Ids for `count` rows of a table, from the sequence that its column draws from. */
export async function newIds(client: Client, table: NumberedTable, count: number): Promise<number[]> {
  const made = await client.query<{ ids: string | null }>(
    `select string_agg(nextval((select pg_get_serial_sequence($1, 'id')::regclass))::text, ',') as ids
       from generate_series(1, $2::int)`,
    [table, count],
  );
  return numbersOf(made.rows[0]?.ids ?? null);
}
