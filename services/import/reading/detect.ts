/** Recognises what a file is by what is in it; names are the user's own business. */
import type { Readable } from "node:stream";
import { FORMATS } from "../formats/index.js";
import type { ImportFormat, RecordChunk } from "../types.js";
import type { ImportErrorCode } from "../verdicts.js";
import { ImportError } from "../verdicts.js";
import { csvOpenings, endOfFirstLine, OPENING_BYTES } from "./csvOpening.js";
import { scanHtmlCells, scanJsonArray, scanJsonLines, scanJsonLists } from "./records.js";
import type { UploadEntry } from "./upload.js";

/** A broken record at the top must not hide what the file is, so a few are tried. */
const SAMPLE_RECORDS = 20;
const SAMPLE_RECORD_BYTES = 64 * 1024;
/** The first character that says something, read as Latin-1. */
const OPENING = /^(?:\xef\xbb\xbf)?\s*(\S)/;
const SAMPLE_BYTES = 16 * 1024 ** 2;

export type Detection =
  | { readonly format: ImportFormat; readonly skipped?: never; readonly message?: never }
  | { readonly format?: never; readonly skipped: ImportErrorCode; readonly message: string };

/**
 * Reads no further than the first record that tells. Throws only what is no fault of the file: errors of
 * storage, and the reason of `signal`.
 */
export async function detectFormat(entry: UploadEntry, signal?: AbortSignal): Promise<Detection> {
  if (entry.problem !== null) return { skipped: entry.problem.code, message: entry.problem.message };
  try {
    const found = await detectJson(entry, signal);
    if (found.skipped !== "unrecognised_format") return found;
    const start = await firstBytes(await entry.open(signal));
    const opening = OPENING.exec(start.toString("latin1"))?.[1];
    const other =
      opening === "{" || opening === "["
        ? await detectOtherJson(entry, signal)
        : opening === "<"
          ? await detectHtml(entry, signal)
          : null;
    return other ?? detectCsv(entry.name, start) ?? unrecognised();
  } catch (error) {
    if (error instanceof ImportError) return { skipped: error.code, message: error.message };
    throw error;
  }
}

async function detectJson(entry: UploadEntry, signal?: AbortSignal): Promise<Detection> {
  try {
    const stream = await entry.open(signal);
    let tried = 0;
    for await (const { records, bytesRead } of scanJsonArray(stream, SAMPLE_RECORD_BYTES, signal)) {
      for (const { value } of records) {
        const format = recognise("json-array", entry.name, value);
        if (format !== undefined) return { format };
        tried += 1;
        if (tried >= SAMPLE_RECORDS) return unrecognised();
      }
      if (bytesRead >= SAMPLE_BYTES) return unrecognised();
    }
    return tried === 0 ? { skipped: "empty_file", message: "The list has no records" } : unrecognised();
  } catch (error) {
    if (error instanceof ImportError) return { skipped: error.code, message: error.message };
    throw error;
  }
}

/** Null when the file is no web page of a known kind. */
async function detectHtml(entry: UploadEntry, signal?: AbortSignal): Promise<Detection | null> {
  const cells = scanHtmlCells(await entry.open(signal), SAMPLE_RECORD_BYTES, signal);
  const format = await firstKnown("html-cells", entry.name, cells);
  return format === undefined ? null : { format };
}

/** Lines of JSON, or lists inside of a JSON document; null when the file has no known record of these kinds. */
async function detectOtherJson(entry: UploadEntry, signal?: AbortSignal): Promise<Detection | null> {
  const lists = FORMATS.flatMap((format) => format.lists ?? []);
  const lines = scanJsonLines(await entry.open(signal), SAMPLE_RECORD_BYTES, signal);
  const format = await firstKnown("json-lines", entry.name, lines);
  if (format !== undefined) return { format };
  const inLists = scanJsonLists(await entry.open(signal), lists, SAMPLE_RECORD_BYTES, signal);
  const listed = await firstKnown("json-lists", entry.name, inLists);
  return listed === undefined ? null : { format: listed };
}

/** The format of the first of a few records that one recognises. A file that is not of this kind has none. */
async function firstKnown(
  container: ImportFormat["container"],
  name: string,
  chunks: AsyncIterable<RecordChunk>,
): Promise<ImportFormat | undefined> {
  let tried = 0;
  try {
    for await (const { records, bytesRead } of chunks) {
      for (const { value } of records) {
        const format = recognise(container, name, value);
        tried += 1;
        if (format !== undefined || tried >= SAMPLE_RECORDS) return format;
      }
      if (bytesRead >= SAMPLE_BYTES) return undefined;
    }
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
  }
  return undefined;
}

/** By the first line; null when the file is no CSV of a known kind. Any other way to write one is its `header` error. */
function detectCsv(name: string, start: Buffer): Detection | null {
  for (const { columns, delimiter, repeated, hasMore } of csvOpenings(start)) {
    const sample = { name, firstRecord: undefined, columns };
    const format = FORMATS.find((each) => each.container === "csv" && each.recognises(sample));
    if (format === undefined) continue;
    const named = format.csv?.header === true;
    if (delimiter !== ",") {
      const mark = delimiter === ";" ? "semicolons" : "tabs";
      return { skipped: "header", message: `The columns are separated by ${mark}, not by commas` };
    }
    if (named && repeated !== undefined)
      return { skipped: "header", message: `The header has two columns named ${repeated}` };
    if (named && !hasMore) return { skipped: "empty_file", message: "The file has a header and no rows" };
    return { format };
  }
  return null;
}

/** Of the beginning of a file: whether it has a whole line and more, or is no CSV. */
function tells(text: string): boolean {
  const end = endOfFirstLine(text);
  return /^[[{<]/.test(text) || text.includes("\0") || (end >= 0 && text.slice(end).trim() !== "");
}

/** The first line and the beginning of the next, or 64 KiB, which is more than any header needs. */
async function firstBytes(stream: Readable): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  for await (const piece of stream as AsyncIterable<Buffer>) {
    start = Buffer.concat([start, piece]);
    if (tells(start.toString("latin1").trimStart()) || start.length >= OPENING_BYTES) break;
  }
  return start;
}

function recognise(
  container: ImportFormat["container"],
  name: string,
  value: unknown,
): ImportFormat | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return FORMATS.find(
    (format) => format.container === container && format.recognises({ name, firstRecord: value }),
  );
}

function unrecognised(): Detection {
  return { skipped: "unrecognised_format", message: "The file is of no known listening history format" };
}
