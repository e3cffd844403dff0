/** Shapes that pass between the reader, the formats and the writer of an import. */
import type { ExternalIdProvider, PlaySource, TimePrecision } from "../../db/models/enums.js";
import type { RejectReason, SkipReason } from "./verdicts.js";

export { PLAY_SOURCES } from "../../db/models/enums.js";
export type { PlaySource, TimePrecision } from "../../db/models/enums.js";

/** A strong id of a track; a known one decides identity before any text does. */
export interface ExternalId {
  readonly provider: ExternalIdProvider;
  readonly id: string;
}

/** One play as its source describes it, before it has a place in the catalogue. Times are Unix milliseconds, UTC. */
export interface Play {
  readonly source: PlaySource;
  /** 16 bytes, see services/history/sourceKey.ts. */
  readonly sourceKey: Buffer;
  /** Start of the play. */
  readonly playedAt: number;
  readonly endedAt: number | null;
  readonly startEarliest: number;
  readonly startLatest: number;
  readonly precision: TimePrecision;
  readonly msPlayed: number | null;
  readonly durationMs: number | null;
  /** By services/history/listenRule.ts. */
  readonly counted: boolean;
  readonly title: string;
  readonly artist: string;
  readonly album: string | null;
  readonly trackId: ExternalId | null;
  /** Stored as jsonb: only keys the source knows; no IP, user agent or account name. */
  readonly context: Readonly<Record<string, string | number | boolean>> | null;
}

/** What becomes of one record. Exactly one verdict for each record read. */
export type Verdict =
  | { readonly verdict: "play"; readonly play: Play }
  | { readonly verdict: "skipped"; readonly reason: SkipReason; readonly message?: string }
  | { readonly verdict: "rejected"; readonly reason: RejectReason; readonly message: string };

/**
 * One record out of a file: its 0-based index in the part, and its value or why it has none. `line`: 1-based, of formats
 * whose records are lines.
 */
export type RawRecord =
  | { readonly position: number; readonly line?: number; readonly value: unknown }
  | {
      readonly position: number;
      readonly line?: number;
      readonly value?: never;
      readonly reason: RejectReason;
      readonly message: string;
      /** Raw text, cut at 1 KB; null when it is not text. */
      readonly excerpt: string | null;
    };

/** A run of consecutive records. `bytesRead` counts unpacked bytes of the part up to the end of this run. */
export interface RecordChunk {
  readonly records: readonly RawRecord[];
  readonly bytesRead: number;
}

/** What a format may know about the file it judges. */
export interface PartContext {
  /** Path inside the archive, or the name of a loose upload. */
  readonly name: string;
  readonly includeIncognito: boolean;
  /** Unix milliseconds; fixed when the job was created, so that every attempt judges alike. */
  readonly now: number;
}

/** The first records of a file, for recognising its format by content. */
export interface FormatSample {
  readonly name: string;
  /** The first element of a JSON array, line of JSON Lines, or element of a list in a JSON document, when it is one. */
  readonly firstRecord: unknown;
  /** The cells of the first line, when the file can be CSV. */
  readonly columns?: readonly string[];
}

/** `position`: index of the record in the part. */
export type JudgeRecord = (record: unknown, context: PartContext, position: number) => Verdict;

/**
 * Of formats that cannot judge a record before the whole file, or other files of the upload, were seen: the part is read
 * twice. What is held between must be bounded, and a function of the files alone. See docs/adr/0020.
 */
export interface Survey {
  /** Formats of the files of the upload to look into first: in this order, and those of one format by number. */
  readonly lookUps: readonly string[];
  /** `now`: as in PartContext. */
  begin(now: number): Surveyor;
}

export interface Surveyor {
  /** Is told every readable record of these files. */
  lookUp(format: string, record: unknown): void;
  /** Then every readable record of the part itself. Throws ImportError `resource_limit` for more than it can hold. */
  see(record: unknown, position: number): void;
  finish(): JudgeRecord;
}

/** What a CSV format reads; see reading/csv.ts for what becomes of it. */
export interface CsvShape {
  /** Columns by name. Without a header, the names of the columns in their order. */
  readonly wanted: readonly string[];
  /** Whether the first line names the columns. */
  readonly header: boolean;
}

/**
 * One format. Adding a format = one file beside spotifyExtended.ts that exports one of these, and a line in
 * formats/index.ts. Must be pure: same record and context, same verdict.
 */
export interface ImportFormat {
  readonly name: string;
  readonly source: PlaySource;
  /** How the file is cut into records. */
  readonly container: "json-array" | "json-lines" | "json-lists" | "csv" | "html-cells";
  /** Of `csv` formats, and only of them. */
  readonly csv?: CsvShape;
  /** Of `json-lists` formats, and only of them: what the lists that hold records are called; see reading/jsonLists.ts. */
  readonly lists?: readonly string[];
  recognises(sample: FormatSample): boolean;
  /** The records that one of the file stands for, at least one; each counts. Absent: itself. */
  readonly expand?: (record: unknown) => Iterable<unknown>;
  readonly survey?: Survey;
  /** Where there is a survey, its judge is asked in place of this one. */
  judge(record: unknown, context: PartContext): Verdict;
  /** The record as text for the ledger, without personal fields, at most 1 KB. */
  excerpt(record: unknown): string;
}

/**
 * Version of all parsers together, stored on the job. Raise it when any verdict or key could differ:
 * a job is never continued by another version than the one that began it.
 */
export const PARSER_VERSION = 1;
