/** Recognises what a file is by what is in it; names are the user's own business. */
import { FORMATS } from "../formats/index.js";
import type { ImportFormat } from "../types.js";
import type { ImportErrorCode } from "../verdicts.js";
import { ImportError } from "../verdicts.js";
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

function recognise(name: string, value: unknown): ImportFormat | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return FORMATS.find((format) => format.recognises({ name, firstRecord: value }));
}

function unrecognised(): Detection {
  return { skipped: "unrecognised_format", message: "The records are of no known listening history format" };
}
