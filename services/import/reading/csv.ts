/**
 * Cuts a CSV file into rows while the bytes arrive: bounded memory however large the file is, and one broken row is one
 * rejected record. RFC 4180 with commas; a BOM, LF, CRLF and CR alone, line breaks in quoted cells and blank lines
 * (which are no records) are all read. The result depends on the bytes alone, never on how they were split into buffers.
 *
 * A format says which columns it reads (`CsvShape`); a record is an object of those of them that the file has, all of
 * them text as it stands in the file, "" for an empty cell. Other cells, which may be personal, are never looked at.
 * The order of columns is free. Each record comes with the number of the line it begins on, 1-based.
 *
 * Rejected rows: `column_count`, `encoding` (of a column that is read), `too_long`. Ends of the file by ImportError, after
 * all rows before were yielded: `header` (no such columns, or one twice), `csv_unclosed_quote` (a quoted cell that does not
 * end within the limit of a record, or at all), `file_truncated` (the last row has no line break and too few cells).
 *
 * Bytes are parsed as Latin-1, one character each, and only cells that are read are decoded from UTF-8: offsets are
 * those of the file, and no buffer can end within a character.
 */
import { isUtf8 } from "node:buffer";
import Papa from "papaparse";
import type { CsvShape, RawRecord, RecordChunk } from "../types.js";
import { ImportError } from "../verdicts.js";
import { BOM, headerName, newlineOf, repeatedName, utf8 } from "./csvOpening.js";
import { cutToBytes, EXCERPT_MAX_BYTES, rawExcerpt } from "./excerpt.js";

const CHUNK_RECORDS = 1000;
const UTF16_BOMS = ["\xff\xfe", "\xfe\xff"];
const BEYOND_ASCII = /[\x80-\xff]/;

interface Row {
  readonly cells: string[];
  /** Bytes in the text, its line break included. */
  readonly from: number;
  readonly to: number;
  readonly isOpen: boolean;
}

interface Column {
  readonly name: string;
  readonly place: number;
}

export class CsvScanner {
  #text = "";
  /** Bytes of the file before the text. */
  #dropped = 0;
  #newline: "\n" | "\r" | null = null;
  #columns: readonly Column[] | null = null;
  #width = 0;
  /** No column is passed over, so a whole row may be shown. */
  #showsAll = false;
  #line = 1;
  #position = 0;
  /** Set while the rest of an over-long row is passed over. */
  #skipping = false;

  constructor(
    private readonly shape: CsvShape,
    private readonly recordMaxBytes: number,
  ) {}

  /** A CSV file has no opening that more bytes would have to wait for. */
  readonly opened = true;

  /** Adds bytes; `drain` must have been exhausted before. */
  push(pieces: readonly Buffer[]): void {
    this.#text += Buffer.concat(pieces).toString("latin1");
  }

  /** Records that can be told from the bytes so far. */
  drain(): Generator<RecordChunk> {
    return this.#read(false);
  }

  /** The last records, once all bytes are in. */
  finish(): Generator<RecordChunk> {
    return this.#read(true);
  }

  /** The last records, when the bytes break off: what stands behind the last line break is none. */
  whole(): Generator<RecordChunk> {
    return this.#read(false);
  }

  *#read(isOver: boolean): Generator<RecordChunk> {
    if (this.#newline === null && !this.#begin(isOver)) return;
    for (;;) {
      if (this.#skipping && !this.#skipLine()) return;
      const { rows, overlong } = this.#parse(isOver);
      yield* this.#chunks(rows, isOver);
      if (!overlong) return;
      yield { records: [this.#refuseOverlong()], bytesRead: this.#dropped };
    }
  }

  #drop(count: number): void {
    this.#text = this.#text.slice(count);
    this.#dropped += count;
  }

  /** False while the kind of line break cannot be told. */
  #begin(isOver: boolean): boolean {
    this.#newline = newlineOf(this.#text, isOver);
    if (this.#newline === null) {
      if (this.#text.length <= this.recordMaxBytes) return false;
      throw new ImportError("header", "The first line is longer than a record may be");
    }
    if (UTF16_BOMS.some((mark) => this.#text.startsWith(mark)))
      throw new ImportError("encoding", "The file is UTF-16; save it as UTF-8");
    if (this.#text.startsWith(BOM)) this.#drop(BOM.length);
    if (this.#text === "") throw new ImportError("empty_file");
    return true;
  }

  /** Whole rows at the beginning of the text, and whether the one behind them is larger than a record may be. */
  #parse(isOver: boolean): { readonly rows: Row[]; readonly overlong: boolean } {
    const rows: Row[] = [];
    let at = 0;
    let overlong = false;
    const parser = new Papa.Parser({
      delimiter: ",",
      newline: this.#newline ?? "\n",
      step: ({ data, errors, meta }: Papa.ParseStepResult<unknown>) => {
        const isOpen = errors.some(({ code }) => code === "MissingQuotes");
        if (meta.cursor - at > this.recordMaxBytes) {
          overlong = true;
          parser.abort();
          return;
        }
        const cells = (data as string[][])[0] ?? [];
        rows.push({ cells, from: at, to: meta.cursor, isOpen });
        at = meta.cursor;
      },
    });
    parser.parse(this.#text, 0, !isOver);
    overlong ||= !isOver && this.#text.length - at > this.recordMaxBytes;
    return { rows, overlong };
  }

  *#chunks(rows: readonly Row[], isOver: boolean): Generator<RecordChunk> {
    const text = this.#text;
    this.#drop(rows.at(-1)?.to ?? 0);
    let records: RawRecord[] = [];
    for (const { cells, from, to, isOpen } of rows) {
      const line = this.#line;
      this.#line += countOf(text, this.#newline ?? "\n", from, to);
      const last = cells.length - 1;
      // With CRLF the CR is left over, or two of them; a quoted cell loses them by itself.
      while (this.#newline === "\n" && cells[last]?.endsWith("\r") === true)
        cells[last] = cells[last].slice(0, -1);
      const problem = isOpen ? this.#openQuote(line) : this.#cut(cells, isOver && to === text.length, text);
      if (problem !== null) {
        if (records.length > 0) yield { records, bytesRead: this.#dropped };
        throw problem;
      }
      if (cells.length === 1 && cells[0] === "") continue;
      if (this.#columns === null) {
        this.#readHeader(cells);
        if (this.shape.header) continue;
      }
      records.push(this.#record(cells, line, text.slice(from, Math.min(to, from + EXCERPT_MAX_BYTES))));
      if (records.length < CHUNK_RECORDS) continue;
      yield { records, bytesRead: this.#dropped };
      records = [];
    }
    if (records.length > 0) yield { records, bytesRead: this.#dropped };
  }

  #openQuote(line: number): ImportError {
    return new ImportError("csv_unclosed_quote", `The quoted cell in the row of line ${line} never ends`);
  }

  /** The error of a last row that breaks off; null for any other. */
  #cut(cells: readonly string[], isLast: boolean, text: string): ImportError | null {
    const breaksOff = isLast && !/[\r\n]$/.test(text) && this.#columns !== null && cells.length < this.#width;
    return breaksOff ? new ImportError("file_truncated", `The file ends within line ${this.#line}`) : null;
  }

  #readHeader(cells: readonly string[]): void {
    const { wanted, header } = this.shape;
    const names = header ? cells.map(headerName) : wanted.slice(0, cells.length);
    const twice = repeatedName(names);
    if (twice !== undefined) throw new ImportError("header", `The header has two columns named ${twice}`);
    this.#columns = wanted.flatMap((name) => {
      const place = names.indexOf(name);
      return place < 0 ? [] : [{ name, place }];
    });
    if (this.#columns.length === 0) throw new ImportError("header");
    this.#width = cells.length;
    this.#showsAll = names.every((name) => name === "" || wanted.includes(name));
  }

  #record(cells: readonly string[], line: number, raw: string): RawRecord {
    const position = this.#position;
    this.#position += 1;
    if (cells.length !== this.#width) {
      const message = `Line ${line} has ${cells.length} cells; the header has ${this.#width}`;
      const excerpt = this.#showsAll ? rawExcerpt(utf8(raw)) : null;
      return { position, line, reason: "column_count", message, excerpt };
    }
    const value: Record<string, string> = {};
    let wrong: string | null = null;
    for (const { name, place } of this.#columns ?? []) {
      const cell = cells[place] ?? "";
      value[name] = cell;
      if (!BEYOND_ASCII.test(cell)) continue;
      const bytes = Buffer.from(cell, "latin1");
      if (!isUtf8(bytes)) wrong ??= name;
      value[name] = bytes.toString("utf8");
    }
    if (wrong === null) return { position, line, value };
    const message = `${wrong} in line ${line} is not UTF-8`;
    const excerpt = cutToBytes(JSON.stringify(value), EXCERPT_MAX_BYTES);
    return { position, line, reason: "encoding", message, excerpt };
  }

  /** Of the row that the text begins with, which has more bytes than a record may have. */
  #refuseOverlong(): RawRecord {
    const start = this.#text.slice(0, this.recordMaxBytes);
    if (endsInQuotes(start)) {
      throw new ImportError(
        "csv_unclosed_quote",
        `A quoted cell in the row of line ${this.#line} does not end within ${this.recordMaxBytes} bytes`,
      );
    }
    if (this.#columns === null)
      throw new ImportError("header", "The first line is longer than a record may be");
    this.#line += countOf(start, this.#newline ?? "\n", 0, start.length);
    this.#drop(start.length);
    this.#skipping = true;
    const position = this.#position;
    this.#position += 1;
    const message = `The row of line ${this.#line} is larger than ${this.recordMaxBytes} bytes`;
    return { position, line: this.#line, reason: "too_long", message, excerpt: null };
  }

  /** Passes to the next line; false when it has not come yet. */
  #skipLine(): boolean {
    const end = this.#text.indexOf(this.#newline ?? "\n");
    this.#drop(end < 0 ? this.#text.length : end + 1);
    if (end < 0) return false;
    this.#line += 1;
    this.#skipping = false;
    return true;
  }
}

function countOf(text: string, newline: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf(newline, from); at >= 0 && at < to; at = text.indexOf(newline, at + 1))
    count += 1;
  return count;
}

/** Whether a row that begins so is within quotes at the end of `start`. */
function endsInQuotes(start: string): boolean {
  let at = 0;
  while (at < start.length) {
    if (start[at] !== '"') {
      const comma = start.indexOf(",", at);
      if (comma < 0) return false;
      at = comma + 1;
      continue;
    }
    const after = endOfQuotes(start, at + 1);
    if (after < 0) return true;
    at = after;
  }
  return false;
}

/** Just behind the comma that follows the quoted cell whose text begins at `from`; -1 when the cell does not end. */
function endOfQuotes(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 1)) {
    const next = /^"(?:(")|\s*(?:(,)|$|[\r\n]))/.exec(text.slice(at, at + 64));
    if (next === null) continue;
    if (next[1] === undefined) return at + next[0].length;
    at += 1;
  }
  return -1;
}
