/**
 * Finds the records of a JSON document that holds them in lists of known names, anywhere in its outer levels, while the
 * bytes arrive: `{"scrobbles": [...]}`, `[{"track": [...]}, {"track": [...]}]`, `{"recenttracks": {"track": {...}}}` (a
 * list of one may be the element itself). What stands around the lists is passed over unread, so it may be of any size.
 * Bounded memory; one broken element is one rejected record; the result depends on the bytes alone.
 *
 * Rejected elements: `malformed`, `encoding`, `too_deep`, `too_long`. Ends of the file by ImportError, after all elements
 * before were yielded: `file_truncated`, `entry_corrupt` (more data after the document), `empty_file`,
 * `unrecognised_format` (no JSON document, or none with such a list).
 */
import type { RawRecord, RecordChunk } from "../types.js";
import { ImportError } from "../verdicts.js";
import { openingExcerpt, parseElement, refused } from "./jsonElement.js";

const CHUNK_RECORDS = 1000;
/** Levels of the document in which lists are looked for. */
const MAX_LIST_LEVEL = 3;
const MAX_LEADING_SPACE = 64 * 1024;
/** Longest name that is compared with those of lists. */
const MAX_NAME_BYTES = 64;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

export class JsonListsScanner {
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Bytes of the file before the buffer. */
  #dropped = 0;
  #position = 0;
  /** Open levels of the document; 0 before and after it. */
  #level = 0;
  #begun = false;
  #foundList = false;
  /** Something follows the end of the document. */
  #hasMore = false;

  // Outside of lists: the last string, when it can be a name, and whether a colon followed it.
  #name = "";
  #isNamed = false;

  // Inside of a string, wherever it is.
  #inString = false;
  #escaped = false;

  /** `list`: between its brackets. `single`: one element in place of a list. */
  #inside: "document" | "list" | "single" = "document";
  /** Where the element being read begins in the buffer; -1: none. */
  #start = -1;
  #depth = 0;
  #deepest = 0;
  /** Set while the rest of an over-long element is passed over. */
  #skipped: { readonly excerpt: string | null } | null = null;

  constructor(
    private readonly names: readonly string[],
    private readonly recordMaxBytes: number,
  ) {}

  /** True once the document was seen to begin. */
  get opened(): boolean {
    return this.#begun;
  }

  /** Adds bytes; `drain` must have been exhausted before. */
  push(pieces: readonly Buffer[]): void {
    const keep = this.#start >= 0 && this.#skipped === null ? this.#start : this.#at;
    this.#buffer = Buffer.concat([this.#buffer.subarray(keep), ...pieces]);
    this.#dropped += keep;
    this.#at -= keep;
    if (this.#start >= 0) this.#start = 0;
  }

  /** Records that can be told from the bytes so far. */
  *drain(): Generator<RecordChunk> {
    while (this.#at < this.#buffer.length) {
      const records: RawRecord[] = [];
      while (this.#at < this.#buffer.length && records.length < CHUNK_RECORDS) {
        const record = this.#inside === "document" ? this.#passDocument() : this.#readElement();
        if (record !== null) records.push(record);
      }
      if (records.length > 0) yield { records, bytesRead: this.#dropped + this.#at };
      if (this.#hasMore)
        throw new ImportError("entry_corrupt", "There is more data after the end of the document");
    }
  }

  *finish(): Generator<RecordChunk> {
    yield* this.drain();
    if (!this.#begun) throw new ImportError("empty_file");
    if (this.#level > 0) {
      if (this.#start >= 0 && this.#isWhole()) {
        const record = this.#close(this.#buffer.length);
        yield { records: [record], bytesRead: this.#dropped + this.#buffer.length };
      }
      throw new ImportError("file_truncated", `The file ends after ${this.#position} whole records`);
    }
    if (!this.#foundList) throw noSuchList();
  }

  /** Reads on to the next list, or to the end of the buffer. */
  #passDocument(): null {
    const { length } = this.#buffer;
    while (this.#at < length && this.#inside === "document") {
      const byte = this.#buffer[this.#at] ?? 0;
      if (this.#inString) this.#readNameByte(byte);
      else if (!isSpace(byte)) this.#readDocumentByte(byte);
      if (!this.#begun && this.#dropped + this.#at > MAX_LEADING_SPACE) throw noSuchList();
      this.#at += 1;
    }
    return null;
  }

  #readDocumentByte(byte: number): void {
    if (!this.#begun) {
      // A byte order mark, one byte after the other.
      const offset = this.#dropped + this.#at;
      if (byte === [0xef, 0xbb, 0xbf][offset]) return;
      if (byte !== OPEN_LIST && byte !== OPEN_OBJECT) throw noSuchList();
      this.#begun = true;
    } else if (this.#level === 0) {
      // Thrown by drain, when the records before were yielded.
      this.#hasMore = true;
      this.#at = this.#buffer.length - 1;
      return;
    }
    if (byte === QUOTE) {
      this.#inString = true;
      this.#name = "";
      this.#isNamed = false;
      return;
    }
    if (byte === COLON) {
      this.#isNamed = this.names.includes(this.#name);
      return;
    }
    const isList = this.#isNamed && this.#level <= MAX_LIST_LEVEL;
    this.#isNamed = false;
    this.#name = "";
    if (byte === OPEN_LIST) {
      this.#level += 1;
      if (isList) this.#enter("list");
    } else if (byte === OPEN_OBJECT) {
      if (isList) this.#enter("single");
      else this.#level += 1;
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) this.#level -= 1;
  }

  #enter(inside: "list" | "single"): void {
    this.#inside = inside;
    this.#foundList = true;
    // An element in place of a list begins with the byte that is being passed.
    if (inside === "single") this.#at -= 1;
  }

  #readNameByte(byte: number): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === BACKSLASH) this.#escaped = true;
    else if (byte === QUOTE) {
      this.#inString = false;
      return;
    }
    if (this.#name.length < MAX_NAME_BYTES) this.#name += String.fromCharCode(byte);
  }

  /** The element that ends in the buffer; null when none does before the buffer, or the list, ends. */
  #readElement(): RawRecord | null {
    const buffer = this.#buffer;
    for (; this.#at < buffer.length; this.#at += 1) {
      const byte = buffer[this.#at] ?? 0;
      if (this.#start < 0) {
        if (isSpace(byte)) continue;
        if (byte === CLOSE_LIST) return this.#leave();
        this.#start = this.#at;
      }
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
        this.#depth += 1;
        this.#deepest = Math.max(this.#deepest, this.#depth);
      } else if (this.#depth > 0) {
        if (byte === CLOSE_OBJECT || byte === CLOSE_LIST) this.#depth -= 1;
        if (this.#depth === 0 && this.#inside === "single") {
          this.#at += 1;
          const record = this.#close(this.#at);
          this.#inside = "document";
          return record;
        }
      } else if (byte === COMMA) {
        const record = this.#close(this.#at);
        this.#at += 1;
        return record;
      } else if (byte === CLOSE_LIST) {
        const record = this.#close(this.#at);
        this.#leave();
        return record;
      }
    }
    this.#passOverlong();
    return null;
  }

  /** `at` is at the closing bracket of a list. */
  #leave(): null {
    this.#at += 1;
    this.#level -= 1;
    this.#inside = "document";
    return null;
  }

  #passOverlong(): void {
    if (this.#start < 0 || this.#skipped !== null) return;
    if (this.#buffer.length - this.#start > this.recordMaxBytes) this.#skip(this.#buffer.length);
  }

  #skip(end: number): void {
    const opening = this.#buffer.subarray(this.#start, Math.min(end, this.#start + this.recordMaxBytes));
    this.#skipped = { excerpt: openingExcerpt(opening) };
  }

  #isWhole(): boolean {
    const first = this.#buffer[this.#start];
    const isContainer = first === OPEN_OBJECT || first === OPEN_LIST;
    return this.#skipped === null && isContainer && this.#depth === 0 && !this.#inString;
  }

  #close(end: number): RawRecord {
    const position = this.#position++;
    const start = this.#start;
    if (this.#skipped === null && end - start > this.recordMaxBytes) this.#skip(end);
    const skipped = this.#skipped;
    const deepest = this.#deepest;
    this.#start = -1;
    this.#depth = 0;
    this.#deepest = 0;
    this.#skipped = null;
    if (skipped !== null) return refused(position, "too_long", skipped.excerpt, this.recordMaxBytes);
    return parseElement(position, this.#buffer.subarray(start, end), deepest);
  }
}

function noSuchList(): ImportError {
  return new ImportError("unrecognised_format", "The file is no JSON document with a known list");
}
