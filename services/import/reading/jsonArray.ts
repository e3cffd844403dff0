/**
 * Cuts a JSON array into its elements while the bytes arrive: bounded memory however large the file or one
 * element is, and one broken element is one rejected record. See docs/adr/0005.
 *
 * One rule decides everything: an element is what stands between separators at the outer level, outside of
 * strings (`scanElement`). `parseRun` is a shortcut past it for healthy data: when a run of bytes that begins at an
 * element parses as a JSON list, it is cut exactly where the rule would cut it. So the result depends on the
 * bytes alone, never on how they were split into buffers.
 */
import type { RawRecord, RecordChunk } from "../types.js";
import { ImportError } from "../verdicts.js";
import { openingExcerpt, parseElement, parseList, refused } from "./jsonElement.js";

const CHUNK_RECORDS = 1000;
/** Longest run parsed at once: long enough to be cheap, short enough not to hold up the event loop. */
const RUN_BYTES = 64 * 1024;
const RUN_ATTEMPTS = 3;
const MAX_LEADING_SPACE = 64 * 1024;

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

export class JsonArrayScanner {
  private buffer: Buffer = Buffer.alloc(0);
  /** Next byte to look at. */
  private at = 0;
  /** Bytes of the file before `buffer[0]`. */
  private dropped = 0;
  private phase: "head" | "inside" | "after" = "head";
  private position = 0;
  /** Up to this byte of the file elements are scanned one by one, because a run did not parse. */
  private scanUntil = 0;
  private ended = false;

  // The element being scanned; start -1: none.
  private start = -1;
  private depth = 0;
  private deepest = 0;
  private inString = false;
  /** Backslashes before a quote are counted down to here ... */
  private stringFrom = 0;
  /** ... where, in an element whose bytes are not kept, an odd run of them may have gone before. */
  private oddBefore = false;
  /** Set while the rest of an over-long element is passed over. */
  private skipped: { readonly excerpt: string | null; readonly container: boolean } | null = null;
  private readonly runBytes: number;

  constructor(private readonly recordMaxBytes: number) {
    this.runBytes = Math.min(recordMaxBytes, RUN_BYTES);
  }

  /** True once the opening bracket was seen. */
  get opened(): boolean {
    return this.phase !== "head";
  }

  /** Adds bytes; `drain` must have been exhausted before. */
  push(pieces: readonly Buffer[]): void {
    const keep = this.start >= 0 && this.skipped === null ? this.start : this.at;
    this.buffer = Buffer.concat([this.buffer.subarray(keep), ...pieces]);
    this.at -= keep;
    this.dropped += keep;
    this.start = this.start < 0 ? -1 : 0;
    this.stringFrom = Math.max(0, this.stringFrom - keep);
  }

  /** Records that can be told from the bytes so far. Throws ImportError when the file is no JSON array. */
  *drain(): Generator<RecordChunk> {
    if (this.phase === "head" && !this.readHead()) return;
    while (this.phase === "inside") {
      if (this.start < 0) {
        this.skipSpace();
        if (!this.ended && this.buffer.length - this.at < this.runBytes) return;
        if (this.dropped + this.at >= this.scanUntil) {
          const run = this.parseRun();
          if (run !== null) {
            yield* run;
            continue;
          }
          this.scanUntil = this.dropped + this.at + this.runBytes;
        }
      }
      const records: RawRecord[] = [];
      const complete = this.scanRecords(records);
      if (records.length > 0) yield { records, bytesRead: this.dropped + this.at };
      if (!complete) return;
    }
    this.expectNothing();
  }

  /**
   * The file is over (or what follows is unreadable). Yields what is still whole; throws `file_truncated` when the
   * closing bracket never came, `empty_file` when there was nothing at all.
   */
  *finish(): Generator<RecordChunk> {
    this.ended = true;
    yield* this.drain();
    if (this.phase === "after") return;
    if (this.phase === "head") throw new ImportError("empty_file");
    if (this.start >= 0 && this.isClosedElement()) {
      yield {
        records: [this.closeElement(this.buffer.length)],
        bytesRead: this.dropped + this.buffer.length,
      };
    }
    throw new ImportError("file_truncated", `The list ends after ${this.position} whole records`);
  }

  /** Finds the opening bracket; false when more bytes are needed. */
  private readHead(): boolean {
    const [first, second, third] = this.buffer;
    if (this.dropped === 0 && this.at === 0) {
      if (this.buffer.length < 3 && !this.ended) return false;
      const textByte = (byte: number | undefined): boolean =>
        isSpace(byte) || byte === OPEN_LIST || byte === OPEN_OBJECT || byte === QUOTE;
      if (
        (first === 0xff && second === 0xfe) ||
        (first === 0xfe && second === 0xff) ||
        (first === 0 && textByte(second)) ||
        (second === 0 && textByte(first))
      ) {
        throw new ImportError("encoding", "The file is UTF-16; only UTF-8 can be read");
      }
      if (first === 0xef && second === 0xbb && third === 0xbf) this.at = 3;
    }
    this.skipSpace();
    if (this.dropped + this.at > MAX_LEADING_SPACE) throw notAList();
    if (this.at >= this.buffer.length) return false;
    if (this.buffer[this.at] !== OPEN_LIST) throw notAList();
    this.at += 1;
    this.phase = "inside";
    return true;
  }

  private skipSpace(): void {
    while (this.at < this.buffer.length && isSpace(this.buffer[this.at])) this.at += 1;
  }

  private expectNothing(): void {
    if (this.phase !== "after") return;
    this.skipSpace();
    if (this.at < this.buffer.length) {
      throw new ImportError(
        "entry_corrupt",
        `There is more data after the end of the list of ${this.position} records`,
      );
    }
  }

  /** Parses as many whole elements at once as fit a run; null when that is not possible here. */
  private parseRun(): RecordChunk[] | null {
    const from = this.at;
    const to = Math.min(this.buffer.length, from + this.runBytes);
    let brace = to;
    for (let attempt = 0; attempt < RUN_ATTEMPTS; attempt += 1) {
      // A closing brace, a comma, an opening brace: with three attempts this nearly always is an outer border.
      let comma = -1;
      while (comma < 0) {
        brace = brace > from ? this.buffer.lastIndexOf(CLOSE_OBJECT, brace - 1) : -1;
        if (brace < from) return null;
        comma = this.commaBetweenObjects(brace + 1, to);
      }
      const values = parseList(this.buffer.subarray(from, brace + 1));
      if (values !== null) {
        this.at = comma + 1;
        return this.numbered(values, from);
      }
    }
    return null;
  }

  private commaBetweenObjects(from: number, to: number): number {
    let at = from;
    while (at < to && isSpace(this.buffer[at])) at += 1;
    if (at >= to || this.buffer[at] !== COMMA) return -1;
    const comma = at;
    at += 1;
    while (at < to && isSpace(this.buffer[at])) at += 1;
    return at < to && this.buffer[at] === OPEN_OBJECT ? comma : -1;
  }

  private numbered(values: readonly unknown[], from: number): RecordChunk[] {
    const chunks: RecordChunk[] = [];
    for (let first = 0; first < values.length; first += CHUNK_RECORDS) {
      const records = values
        .slice(first, first + CHUNK_RECORDS)
        .map((value): RawRecord => ({ position: this.position++, value }));
      const share = Math.min(1, (first + CHUNK_RECORDS) / values.length);
      chunks.push({ records, bytesRead: this.dropped + from + Math.floor((this.at - from) * share) });
    }
    return chunks;
  }

  /** Scans elements into `records`; false when more bytes are needed. */
  private scanRecords(records: RawRecord[]): boolean {
    while (this.phase === "inside") {
      if (this.start < 0) {
        this.skipSpace();
        if (records.length >= CHUNK_RECORDS || this.dropped + this.at >= this.scanUntil) return true;
        if (this.at >= this.buffer.length) return false;
        this.start = this.at;
      }
      const separator = this.scanElement();
      const end = separator < 0 ? this.at : separator;
      if (this.skipped === null && end - this.start > this.recordMaxBytes) this.startSkipping();
      if (separator < 0) {
        if (this.skipped !== null) this.forgetBytes();
        return false;
      }
      const last = this.buffer[separator] === CLOSE_LIST;
      // An empty place counts as a broken record, except before the closing bracket: a trailing comma loses nothing.
      if (separator > this.start || this.skipped !== null || !last)
        records.push(this.closeElement(separator));
      this.start = -1;
      this.at = separator + 1;
      if (last) this.phase = "after";
    }
    return true;
  }

  /** Moves `at` to the separator that ends the element and returns it, or to the end of the buffer and returns -1. */
  private scanElement(): number {
    const { buffer } = this;
    const { length } = buffer;
    let at = this.at;
    while (at < length) {
      if (this.inString) {
        const quote = buffer.indexOf(QUOTE, at);
        if (quote < 0) {
          at = length;
          break;
        }
        this.inString = this.oddBackslashesBefore(quote);
        at = quote + 1;
        continue;
      }
      const byte = buffer[at];
      if (byte === QUOTE) {
        this.inString = true;
        this.stringFrom = at + 1;
        this.oddBefore = false;
      } else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
        this.depth += 1;
        if (this.depth > this.deepest) this.deepest = this.depth;
      } else if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) {
        if (this.depth > 0) this.depth -= 1;
        else if (byte === CLOSE_LIST) return (this.at = at);
      } else if (byte === COMMA && this.depth === 0) {
        return (this.at = at);
      }
      at += 1;
    }
    this.at = at;
    return -1;
  }

  private oddBackslashesBefore(index: number): boolean {
    let at = index - 1;
    while (at >= this.stringFrom && this.buffer[at] === BACKSLASH) at -= 1;
    const odd = (index - 1 - at) % 2 === 1;
    return at < this.stringFrom && this.oddBefore ? !odd : odd;
  }

  private startSkipping(): void {
    const first = this.buffer[this.start];
    this.skipped = {
      excerpt: openingExcerpt(this.buffer.subarray(this.start, this.start + this.recordMaxBytes)),
      container: first === OPEN_OBJECT || first === OPEN_LIST,
    };
  }

  /** Lets go of the bytes of an over-long element, remembering what the next ones depend on. */
  private forgetBytes(): void {
    if (this.inString) {
      this.oddBefore = this.oddBackslashesBefore(this.at);
      this.stringFrom = this.at;
    }
  }

  private isClosedElement(): boolean {
    const first = this.buffer[this.start];
    const container = this.skipped?.container ?? (first === OPEN_OBJECT || first === OPEN_LIST);
    return container && this.depth === 0 && !this.inString;
  }

  private closeElement(end: number): RawRecord {
    const position = this.position++;
    const { start, deepest, skipped } = this;
    this.skipped = null;
    this.depth = 0;
    this.deepest = 0;
    this.inString = false;
    if (skipped !== null) return refused(position, "too_long", skipped.excerpt, this.recordMaxBytes);
    return parseElement(position, this.buffer.subarray(start, end), deepest);
  }
}

function notAList(): ImportError {
  return new ImportError("unrecognised_format", "The file is not a list of records");
}
