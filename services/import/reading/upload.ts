/** An upload as a list of files: the files of a ZIP, or the one file that was sent loose. */
import { Readable, addAbortSignal } from "node:stream";
import type { BlobReader } from "../../storage/BlobStore.js";
import type { ImportErrorCode } from "../verdicts.js";
import { ImportError } from "../verdicts.js";
import type { ReadLimits } from "./limits.js";
import { readZipDirectory } from "./zipDirectory.js";
import type { ZipRecord } from "./zipDirectory.js";
import { unpack } from "./zipEntry.js";

export type { ReadLimits } from "./limits.js";

const MAX_LOOSE_NAME = 255;

export interface UploadEntry {
  /** Place in the archive's directory, folders and ignored files counted: the same for every attempt. 0 when loose. */
  readonly index: number;
  /** Path inside the archive with forward slashes, or the name of the loose file. */
  readonly name: string;
  /** Unpacked bytes as declared: good for progress, proved only while reading. */
  readonly sizeBytes: number;
  /** Why the file will not be read; `open` refuses with the same. */
  readonly problem: { readonly code: ImportErrorCode; readonly message: string } | null;
  /**
   * Unpacked bytes from the beginning; nothing is read before the stream is. The stream fails with ImportError
   * `entry_corrupt` or `archive_limit` after the bytes that precede the place, and is destroyed by `signal`.
   */
  open(signal?: AbortSignal): Promise<Readable>;
}

export interface Upload {
  readonly kind: "zip" | "loose";
  /** In the order of the directory; without folders, `__MACOSX/` and `.DS_Store`. */
  entries(): AsyncIterable<UploadEntry>;
  /** Throws ImportError `storage_lost` when there is no such entry. */
  entry(index: number): Promise<UploadEntry>;
  /** Closes the blob's reader too. */
  close(): Promise<void>;
}

/**
 * Opens an upload by its content; `filename` only names a loose file. Reads the directory of a ZIP whole, which the limits bound.
 * Throws ImportError for an archive that is not read at all: `not_a_zip`, `unsafe_archive` (names), `archive_limit`
 * (entries, total size, overlaps), `encrypted`. The reader stays open then, as it does when storage fails.
 */
export async function openUpload(
  reader: BlobReader,
  filename: string | null,
  limits: ReadLimits,
): Promise<Upload> {
  const directory = await readZipDirectory(reader, limits);
  const entries =
    directory === null
      ? [looseEntry(reader, filename, limits)]
      : directory.records.map((record) => zipEntry(reader, directory.shift, record, limits));
  const byIndex = new Map(entries.map((entry) => [entry.index, entry]));
  return {
    kind: directory === null ? "loose" : "zip",
    async *entries() {
      for (const entry of entries) yield await Promise.resolve(entry);
    },
    async entry(index) {
      const entry = byIndex.get(index);
      if (entry === undefined)
        throw new ImportError("storage_lost", `The upload has no file with number ${index}`);
      return Promise.resolve(entry);
    },
    close: () => reader.close(),
  };
}

function zipEntry(reader: BlobReader, shift: number, record: ZipRecord, limits: ReadLimits): UploadEntry {
  const { index, name, unpackedBytes, problem } = record;
  return {
    index,
    name,
    sizeBytes: unpackedBytes,
    problem,
    open: (signal) =>
      openStream(problem, signal, () =>
        Readable.from(unpack(reader, shift, record, limits), { highWaterMark: 1 }),
      ),
  };
}

function looseEntry(reader: BlobReader, filename: string | null, limits: ReadLimits): UploadEntry {
  const problem =
    reader.sizeBytes <= limits.entryMaxBytes
      ? null
      : ({
          code: "archive_limit",
          message: `The file has ${reader.sizeBytes} bytes; the limit is ${limits.entryMaxBytes}`,
        } as const);
  return {
    index: 0,
    name: looseName(filename),
    sizeBytes: reader.sizeBytes,
    problem,
    open: (signal) => openStream(problem, signal, () => reader.createReadStream()),
  };
}

function openStream(
  problem: UploadEntry["problem"],
  signal: AbortSignal | undefined,
  create: () => Readable,
): Promise<Readable> {
  if (problem !== null) return Promise.reject(new ImportError(problem.code, problem.message));
  const stream = create();
  // Its reader hears of every error; but one that comes before there is a reader would end the process.
  stream.on("error", () => undefined);
  return Promise.resolve(signal === undefined ? stream : addAbortSignal(signal, stream));
}

/** Clients send whole paths, and worse; only the last part says anything. */
function looseName(filename: string | null): string {
  const base = (filename ?? "").split(/[/\\]/).at(-1) ?? "";
  const printable = base.replace(/[\p{Cc}\p{Surrogate}]/gu, "").trim();
  return printable === "" ? "upload" : Array.from(printable).slice(0, MAX_LOOSE_NAME).join("");
}
