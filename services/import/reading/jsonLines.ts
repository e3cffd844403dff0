/**
 * Cuts a file of JSON Lines into records while the bytes arrive: one line is one record, a blank line is none, and a broken
 * line is one rejected record. Bounded memory however long a line is; the result depends on the bytes alone, never on how
 * they were split into buffers. Each record comes with its line, 1-based.
 *
 * Rejected lines: `malformed`, `encoding`, `too_deep`, `too_long`. Ends of the file by ImportError, after all lines before
 * were yielded: `file_truncated` (the last line has no line break and is not whole), `empty_file`, `encoding` (UTF-16),
 * `unrecognised_format` (the file does not begin with an object).
 */
import type { RawRecord, RecordChunk } from "../types.js";
import { ImportError } from "../verdicts.js";
import { openingExcerpt, parseElement, refused } from "./jsonElement.js";

const CHUNK_RECORDS = 1000;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const UTF8_BOM = Buffer.from([0xef, 0xbb, 0xbf]);

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === NEWLINE || byte === 0x0d || byte === 0x09;
const isOpening = (byte: number | undefined): boolean => byte === 0x7b || byte === 0x5b;
const isClosing = (byte: number | undefined): boolean => byte === 0x7d || byte === 0x5d;

export class JsonLinesScanner {
  #buffer: Buffer = Buffer.alloc(0);
  /** Beginning of the line being looked at, in the buffer. */
  #start = 0;
  /** Bytes of the file before the buffer. */
  #dropped = 0;
  #line = 1;
  #position = 0;
  #opened = false;
  /** Set while the rest of an over-long line is passed over: what could be shown of it. */
  #skipped: { readonly excerpt: string | null } | null = null;

  constructor(private readonly recordMaxBytes: number) {}

  /** True once the first record was seen to begin as an object. */
  get opened(): boolean {
    return this.#opened;
  }

  /** Adds bytes; `drain` must have been exhausted before. */
  push(pieces: readonly Buffer[]): void {
    this.#dropped += this.#start;
    this.#buffer = Buffer.concat([this.#buffer.subarray(this.#start), ...pieces]);
    this.#start = 0;
  }

  /** Records of the lines that are over. */
  *drain(): Generator<RecordChunk> {
    if (!this.#opened && !this.#open(false)) return;
    yield* this.#lines();
    this.#passOverlong();
  }

  /** The last records, once all bytes are in. */
  *finish(): Generator<RecordChunk> {
    if (!this.#opened && !this.#open(true)) throw new ImportError("empty_file");
    yield* this.#lines();
    this.#passOverlong();
    const rest = trimmed(this.#buffer.subarray(this.#start));
    if (rest.length === 0 && this.#skipped === null) return;
    const record = this.#record(rest);
    if ("reason" in record) {
      throw new ImportError(
        "file_truncated",
        `The last line, ${record.line ?? this.#line}, is not whole; ${record.position} records come before it`,
      );
    }
    yield { records: [record], bytesRead: this.#dropped + this.#buffer.length };
  }

  /** The last records, when the bytes break off: what stands behind the last line break is none. */
  whole(): Generator<RecordChunk> {
    return this.drain();
  }

  /** False while there is nothing but space. */
  #open(isOver: boolean): boolean {
    if (this.#dropped === 0 && this.#start === 0) {
      if (this.#buffer.length < UTF8_BOM.length && !isOver) return false;
      const [first, second] = this.#buffer;
      if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
        throw new ImportError("encoding", "The file is UTF-16; only UTF-8 can be read");
      if (this.#buffer.subarray(0, UTF8_BOM.length).equals(UTF8_BOM)) this.#start = UTF8_BOM.length;
    }
    while (isSpace(this.#buffer[this.#start])) {
      if (this.#buffer[this.#start] === NEWLINE) this.#line += 1;
      this.#start += 1;
    }
    if (this.#start >= this.#buffer.length) return false;
    if (this.#buffer[this.#start] !== 0x7b)
      throw new ImportError("unrecognised_format", "The file does not consist of lines of JSON objects");
    this.#opened = true;
    return true;
  }

  *#lines(): Generator<RecordChunk> {
    let records: RawRecord[] = [];
    for (;;) {
      const end = this.#buffer.indexOf(NEWLINE, this.#start);
      if (end < 0) break;
      const line = trimmed(this.#buffer.subarray(this.#start, end));
      if (line.length > 0 || this.#skipped !== null) records.push(this.#record(line));
      this.#start = end + 1;
      this.#line += 1;
      if (records.length < CHUNK_RECORDS) continue;
      yield { records, bytesRead: this.#dropped + this.#start };
      records = [];
    }
    if (records.length > 0) yield { records, bytesRead: this.#dropped + this.#start };
  }

  /** Lets go of the bytes of a line that is longer than a record may be. */
  #passOverlong(): void {
    const rest = this.#buffer.subarray(this.#start);
    if (this.#skipped === null && rest.length <= this.recordMaxBytes + 1) return;
    this.#skipped ??= { excerpt: openingExcerpt(rest.subarray(0, this.recordMaxBytes)) };
    this.#start = this.#buffer.length;
  }

  #record(line: Buffer): RawRecord {
    const position = this.#position++;
    const place = { line: this.#line };
    const excerpt =
      this.#skipped === null && line.length > this.recordMaxBytes ? openingExcerpt(line) : undefined;
    const skipped = this.#skipped ?? (excerpt === undefined ? null : { excerpt });
    this.#skipped = null;
    const record =
      skipped === null
        ? parseElement(position, line, levelsOf(line))
        : refused(position, "too_long", skipped.excerpt, this.recordMaxBytes);
    return { ...record, ...place };
  }
}

function trimmed(line: Buffer): Buffer {
  let from = 0;
  let to = line.length;
  while (from < to && isSpace(line[from])) from += 1;
  while (to > from && isSpace(line[to - 1])) to -= 1;
  return line.subarray(from, to);
}

/** Levels of nesting, outside of strings. */
function levelsOf(line: Buffer): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < line.length; at += 1) {
    const byte = line[at];
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (isOpening(byte)) deepest = Math.max(deepest, (depth += 1));
    else if (isClosing(byte)) depth -= 1;
  }
  return deepest;
}
