/**
 * Rows in PostgreSQL's binary COPY form, written by hand: numbers and times need no text on either side. Every value is
 * a length of four bytes and then the value; -1 is null.
 */
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type { PoolClient } from "pg";
import { from as copyFrom } from "pg-copy-streams";

const PIECE_BYTES = 64 * 1024;
const HEADER = Buffer.from("PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0", "latin1");
const TRAILER = Buffer.from([0xff, 0xff]);
const NULL = -1;
/** timestamptz counts microseconds from 2000-01-01. */
const EPOCH_MS = Date.UTC(2000, 0, 1);
const TWO_TO_32 = 2 ** 32;
const JSONB_VERSION = 1;

/** A value that its column cannot hold. The code is what the server would have said. */
class ValueRefusedError extends Error {
  readonly code = "22003";
}

/** Writes values one after the other; make room with `reserve` first. */
export class BinaryRows {
  #bytes = Buffer.allocUnsafe(PIECE_BYTES);
  #at = 0;

  constructor() {
    this.bytes(HEADER);
  }

  /** Bytes written since the last `take`. */
  get pending(): number {
    return this.#at;
  }

  /** What was written so far; the next values begin a new piece. */
  take(): Buffer {
    const piece = this.#bytes.subarray(0, this.#at);
    this.#bytes = Buffer.allocUnsafe(PIECE_BYTES);
    this.#at = 0;
    return piece;
  }

  /** Ends the rows and takes what is left. */
  end(): Buffer {
    this.reserve(TRAILER.length);
    this.bytes(TRAILER);
    return this.take();
  }

  reserve(size: number): void {
    if (this.#bytes.length - this.#at >= size) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#at + size, 2 * this.#bytes.length));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }

  /** As they are, lengths included. */
  bytes(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  bytea(value: Uint8Array): void {
    this.#int32(value.length);
    this.bytes(value);
  }

  integer(value: number | null): void {
    if (value === null) return this.#int32(NULL);
    if ((value | 0) !== value) throw new ValueRefusedError("A number is no 32-bit integer");
    this.#int32(4);
    this.#int32(value);
  }

  bigint(value: number | null): void {
    if (value === null) return this.#int32(NULL);
    if (!Number.isSafeInteger(value)) throw new ValueRefusedError("A number is no safe integer");
    this.#int32(8);
    this.#int32(Math.floor(value / TWO_TO_32));
    this.#int32(value | 0);
  }

  boolean(value: boolean): void {
    this.#int32(1);
    this.#bytes[this.#at++] = value ? 1 : 0;
  }

  /** Unix milliseconds as timestamptz. */
  time(ms: number | null): void {
    this.bigint(ms === null ? null : (ms - EPOCH_MS) * 1000);
  }

  /** JSON text as jsonb; `reserve` three bytes a character. */
  json(text: string | null): void {
    if (text === null) return this.#int32(NULL);
    const length = this.#bytes.write(text, this.#at + 5, "utf8");
    this.#int32(length + 1);
    this.#bytes[this.#at] = JSONB_VERSION;
    this.#at += length + 1;
  }

  #int32(value: number): void {
    const bytes = this.#bytes;
    bytes[this.#at] = value >>> 24;
    bytes[this.#at + 1] = value >>> 16;
    bytes[this.#at + 2] = value >>> 8;
    bytes[this.#at + 3] = value;
    this.#at += 4;
  }
}

/** A value that does not change from row to row, ready for `BinaryRows.bytes`. */
export function field(value: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(value.length);
  return Buffer.concat([length, value]);
}

export const uuidField = (uuid: string): Buffer => field(Buffer.from(uuid.replaceAll("-", ""), "hex"));

/** `write` writes one row, its count of values first. `target` is `table (columns)`, a constant of the calling code. */
export async function copyBinaryInto<T>(
  client: PoolClient,
  target: string,
  rows: readonly T[],
  write: (row: T, out: BinaryRows) => void,
): Promise<void> {
  const sink = client.query(copyFrom(`copy ${target} from stdin with (format binary)`));
  await pipeline(Readable.from(pieces(rows, write)), sink);
}

function* pieces<T>(rows: readonly T[], write: (row: T, out: BinaryRows) => void): Generator<Buffer> {
  const out = new BinaryRows();
  for (const row of rows) {
    write(row, out);
    if (out.pending >= PIECE_BYTES - 1024) yield out.take();
  }
  yield out.end();
}
