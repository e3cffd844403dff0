/**
 * Cuts a page of Google's activity into its entries while the bytes arrive: bounded memory however large the page or one
 * entry is. Bytes that are not UTF-8 become U+FFFD, as a browser shows them.
 */
import { Parser } from "htmlparser2";
import type { RawRecord, RecordChunk } from "../types.js";
import { ImportError } from "../verdicts.js";
import { refused } from "./jsonElement.js";

/** Characters that a tag or a comment may have before the page is given up. */
const LONGEST_TAG = 1024 ** 2;
/** Elements inside of each other; Google's pages have about ten. */
const DEEPEST = 1000;

/** Text between line breaks, its links one by one. */
export interface CellLine {
  readonly text: string;
  readonly links: readonly { readonly href: string; readonly text: string }[];
}

/** The value of a record. */
export interface ActivityCell {
  readonly header: string;
  readonly body: readonly CellLine[];
  /** Products, details and reasons, as lines. */
  readonly caption: readonly string[];
}

interface Line {
  text: string;
  readonly links: { href: string; text: string }[];
}

type Section = "header" | "body" | "caption";

/** The entry being read; `lines` are dropped when it is larger than a record may be. */
interface OpenCell {
  readonly startAt: number;
  /** `div` elements that are open, its own included. */
  depth: number;
  section: Section | null;
  readonly lines: Record<Section, Line[]>;
  inLink: boolean;
  tooLong: boolean;
}

export class HtmlCellScanner {
  readonly #decoder = new TextDecoder();
  readonly #parser: Parser;
  #ready: RawRecord[] = [];
  #cell: OpenCell | null = null;
  #position = 0;
  #bytes = 0;
  #characters = 0;
  #depth = 0;
  #begun = false;
  #whole = false;
  /** Why the rest of the page is not read; met after the entries before it. */
  #failure: ImportError | null = null;

  constructor(private readonly recordMaxBytes: number) {
    this.#parser = new Parser(
      {
        onopentag: (name, attributes) => this.#open(name, attributes),
        ontext: (text) => this.#text(text),
        onclosetag: (name, isImplied) => this.#close(name, isImplied),
      },
      { decodeEntities: true },
    );
  }

  /** True once it is known to be a page of some kind. */
  get opened(): boolean {
    return this.#begun;
  }

  push(pieces: readonly Buffer[]): void {
    for (const piece of pieces) {
      if (this.#failure !== null) return;
      this.#bytes += piece.length;
      this.#write(this.#decoder.decode(piece, { stream: true }));
    }
  }

  /** Throws ImportError `entry_corrupt` after the entries before the damage. */
  *drain(): Generator<RecordChunk> {
    const records = this.#ready;
    this.#ready = [];
    if (records.length > 0) yield { records, bytesRead: this.#bytes };
    if (this.#failure !== null) throw this.#failure;
  }

  /** Throws ImportError after what is whole: `file_truncated`, or `empty_file`. */
  *finish(): Generator<RecordChunk> {
    yield* this.drain();
    if (!this.#begun) throw new ImportError("empty_file");
    if (!this.#whole)
      throw new ImportError("file_truncated", `The page ends after ${this.#position} whole entries`);
  }

  *whole(): Generator<RecordChunk> {
    yield* this.drain();
  }

  #write(text: string): void {
    const start = this.#begun ? text : text.trimStart();
    if (start === "") return;
    if (!this.#begun && !start.startsWith("<"))
      throw new ImportError("unrecognised_format", "The file is no web page");
    this.#begun = true;
    this.#characters += start.length;
    this.#parser.write(start);
    if (this.#characters - this.#parser.endIndex > LONGEST_TAG)
      this.#fail(`A tag of the page is longer than ${LONGEST_TAG} characters`);
  }

  #fail(message: string): void {
    this.#failure ??= new ImportError("entry_corrupt", message);
    this.#cell = null;
  }

  #open(name: string, { class: classes = "", href = "" }: Record<string, string>): void {
    this.#depth += 1;
    if (this.#depth > DEEPEST) this.#fail(`The page is nested deeper than ${DEEPEST} elements`);
    if (this.#failure !== null) return;
    if (name === "div" && hasClass(classes, "outer-cell")) {
      this.#emit();
      const lines = { header: [], body: [], caption: [] };
      const startAt = this.#parser.startIndex;
      this.#cell = { startAt, depth: 1, section: null, lines, inLink: false, tooLong: false };
      return;
    }
    const cell = this.#cell;
    if (cell === null) return;
    if (name === "div") {
      cell.depth += 1;
      if (hasClass(classes, "header-cell") || hasClass(classes, "content-cell"))
        cell.section = sectionOf(classes);
      return;
    }
    const line = this.#line();
    if (cell.section === null || line === null) return;
    if (name === "br") cell.lines[cell.section].push({ text: "", links: [] });
    else if (name === "a") {
      line.links.push({ href, text: "" });
      cell.inLink = true;
    }
  }

  #text(text: string): void {
    const line = this.#line();
    if (line === null) return;
    line.text += text;
    const link = line.links.at(-1);
    if (this.#cell?.inLink === true && link !== undefined) link.text += text;
  }

  #close(name: string, isImplied: boolean): void {
    this.#depth -= 1;
    if (name === "html" && !isImplied) this.#whole = this.#cell === null;
    const cell = this.#cell;
    if (cell === null) return;
    if (name === "a") cell.inLink = false;
    if (name !== "div") return;
    cell.depth -= 1;
    if (cell.depth === 0) this.#emit();
  }

  /** The line that text goes to; null outside of what is kept. */
  #line(): Line | null {
    const cell = this.#cell;
    if (cell?.section == null || cell.tooLong) return null;
    if (this.#parser.endIndex - cell.startAt > this.recordMaxBytes) {
      cell.tooLong = true;
      return null;
    }
    const lines = cell.lines[cell.section];
    if (lines.length === 0) lines.push({ text: "", links: [] });
    return lines.at(-1) ?? null;
  }

  #emit(): void {
    const cell = this.#cell;
    if (cell === null) return;
    this.#cell = null;
    const position = this.#position;
    this.#position += 1;
    if (cell.tooLong) {
      this.#ready.push(refused(position, "too_long", null, this.recordMaxBytes));
      return;
    }
    const { header, body, caption } = cell.lines;
    const value: ActivityCell = {
      header: header
        .map(({ text }) => text.trim())
        .join(" ")
        .trim(),
      body: body.filter(({ text }) => text.trim() !== ""),
      caption: caption.map(({ text }) => text.trim()).filter((text) => text !== ""),
    };
    this.#ready.push({ position, value });
  }
}

const hasClass = (classes: string, name: string): boolean => classes.split(/\s+/).includes(name);

/** The cell beside the body is there for layout alone. */
function sectionOf(classes: string): Section | null {
  if (hasClass(classes, "header-cell")) return "header";
  if (hasClass(classes, "mdl-typography--caption")) return "caption";
  return hasClass(classes, "mdl-typography--text-right") ? null : "body";
}
