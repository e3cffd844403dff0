/** Rows in PostgreSQL's COPY text format, sent in few large pieces: a write per row costs four times the CPU. */
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type { PoolClient } from "pg";
import { from as copyFrom } from "pg-copy-streams";

const PIECE_CHARS = 64 * 1024;

export type CopyValue = string | number | boolean | null;

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** One value as COPY text expects it. */
function copyValue(value: CopyValue): string {
  if (value === null) return "\\N";
  if (typeof value === "boolean") return value ? "t" : "f";
  if (typeof value === "number") return String(value);
  return /[\\\n\r\t]/.test(value) ? value.replace(/[\\\n\r\t]/g, (char) => ESCAPES[char]!) : value;
}

export const copyRow = (values: readonly CopyValue[]): string => `${values.map(copyValue).join("\t")}\n`;

/** `target` is `table (columns)`, a constant of the calling code. */
export async function copyInto(client: PoolClient, target: string, rows: Iterable<string>): Promise<void> {
  const sink = client.query(copyFrom(`copy ${target} from stdin`));
  await pipeline(Readable.from(pieces(rows)), sink);
}

function* pieces(rows: Iterable<string>): Generator<string> {
  let piece = "";
  for (const row of rows) {
    piece += row;
    if (piece.length >= PIECE_CHARS) {
      yield piece;
      piece = "";
    }
  }
  if (piece !== "") yield piece;
}
