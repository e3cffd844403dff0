/** Recognises what a file is by what is in it; names are the user's own business. */
import type { Readable } from "node:stream";
import { FORMATS } from "../formats/index.js";
import type { ImportFormat } from "../types.js";
import type { ImportErrorCode } from "../verdicts.js";
import { ImportError } from "../verdicts.js";
import { csvOpenings } from "./csvOpening.js";
import { scanJsonArray } from "./records.js";
import type { UploadEntry } from "./upload.js";

/** A broken record at the top must not hide what the file is, so a few are tried. */
const SAMPLE_RECORDS = 20;
const SAMPLE_RECORD_BYTES = 64 * 1024;
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
    return found.skipped === "unrecognised_format" ? ((await detectCsv(entry, signal)) ?? found) : found;
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
        const format = recognise(entry.name, value);
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

/** By the first line; null when the file is no CSV of a known kind. Any other way to write one is its `header` error. */
async function detectCsv(entry: UploadEntry, signal?: AbortSignal): Promise<Detection | null> {
  const start = await firstBytes(await entry.open(signal));
  for (const { columns, delimiter, repeated, hasMore } of csvOpenings(start)) {
    const sample = { name: entry.name, firstRecord: undefined, columns };
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
  const end = text.search(/[\r\n]/);
  return /^[[{<]/.test(text) || text.includes("\0") || (end >= 0 && text.slice(end).trim() !== "");
}

/** The first line and the beginning of the next, or 64 KiB, which is more than any header needs. */
async function firstBytes(stream: Readable): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  for await (const piece of stream as AsyncIterable<Buffer>) {
    start = Buffer.concat([start, piece]);
    if (tells(start.toString("latin1").trimStart()) || start.length >= SAMPLE_RECORD_BYTES) break;
  }
  return start;
}

function recognise(name: string, value: unknown): ImportFormat | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return FORMATS.find(
    (format) => format.container === "json-array" && format.recognises({ name, firstRecord: value }),
  );
}

function unrecognised(): Detection {
  return { skipped: "unrecognised_format", message: "The records are of no known listening history format" };
}
