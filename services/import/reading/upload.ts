/** An upload as a list of files: those of an archive and of the archives in it, or the one file that was sent loose. */
import { Readable, addAbortSignal } from "node:stream";
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import type { FileProblem } from "./container.js";
import type { ReadLimits } from "./limits.js";
import { planUpload, type PlannedFile, type UploadPlan } from "./plan.js";

export type { ReadLimits } from "./limits.js";

const MAX_LOOSE_NAME = 255;

export interface UploadEntry {
  /** Number of the file in the upload, see plan.ts: the same for every attempt. 0 when loose. */
  readonly index: number;
  /**
   * Path inside the archive with forward slashes, `outer.zip/inner/file.json` for one in an archive inside it; or the name of
   * the loose file.
   */
  readonly name: string;
  /** Unpacked bytes as declared: good for progress, proved only while reading. */
  readonly sizeBytes: number;
  /** Why the file will not be read; `open` refuses with the same. */
  readonly problem: FileProblem | null;
  /**
   * Unpacked bytes from the beginning; nothing is read before the stream is. The stream fails with ImportError
   * `entry_corrupt`, `file_truncated` or `archive_limit` after the bytes that precede the place, and is destroyed by `signal`.
   */
  open(signal?: AbortSignal): Promise<Readable>;
}

export interface Upload {
  /** `loose`: one file, at most packed with gzip. */
  readonly kind: "archive" | "loose";
  /** By number; without folders, `__MACOSX/`, `.DS_Store` and archives that were opened. */
  entries(): AsyncIterable<UploadEntry>;
  /** Throws ImportError `storage_lost` when there is no such entry. */
  entry(index: number): Promise<UploadEntry>;
  /** Closes the blob's reader too; not those of streams that are still open. */
  close(): Promise<void>;
}

/** Where archives inside archives are kept while their upload is read. */
export interface NestedArchives {
  /**
   * A reader of the archive that is file `number`; made of `unpack` unless it is there already. Throws what `unpack` throws. The
   * bytes are those that the archive around it says, or what `unpack` gives.
   */
  open(
    number: number,
    expected: { readonly sizeBytes: number; readonly crc32: number | null },
    unpack: () => AsyncIterable<Buffer>,
    signal: AbortSignal | undefined,
  ): Promise<BlobReader>;
}

export interface OpenUploadOptions {
  /** Only names a loose file. */
  readonly filename: string | null;
  readonly limits: ReadLimits;
  readonly nested: NestedArchives;
  /** What an earlier call for the same bytes, name and limits gave, so that they need not be walked again. */
  readonly plan?: UploadPlan | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens an upload by its content. Reads the directories of all archives whole, which the limits bound.
 * Throws ImportError for an upload that is not read at all: `not_a_zip`, `unsafe_archive` (names), `archive_limit`
 * (entries, total size, overlaps), `encrypted`. The reader stays open then, as it does when storage fails.
 */
export async function openUpload(
  reader: BlobReader,
  { filename, limits, nested, plan: known, signal }: OpenUploadOptions,
): Promise<Upload & { readonly plan: UploadPlan }> {
  const openNested = async (file: PlannedFile, abort: AbortSignal | undefined): Promise<BlobReader> => {
    const { record, number } = file;
    const expected = { sizeBytes: record.unpackedBytes, crc32: record.crc32 };
    return nested.open(number, expected, () => unpack(file, abort), abort);
  };
  /** The archive around the file is open for as long as it takes. */
  async function* unpack(file: PlannedFile, abort: AbortSignal | undefined): AsyncGenerator<Buffer> {
    const { container, within } = file.container;
    const around = within === null ? reader : await openNested(within, abort);
    try {
      yield* container.unpack(around, file.record);
    } finally {
      if (around !== reader) await around.close();
    }
  }

  const plan =
    known ??
    (await planUpload(reader, looseName(filename), limits, (file) => openNested(file, signal), signal));
  const entryOf = (file: PlannedFile): UploadEntry => ({
    index: file.number,
    name: file.name,
    sizeBytes: file.record.unpackedBytes,
    problem: file.problem,
    open: (abort) => openStream(file.problem, abort, () => unpack(file, abort)),
  });
  return {
    plan,
    kind: plan.kind,
    async *entries() {
      for (const file of plan.files) yield await Promise.resolve(entryOf(file));
    },
    async entry(index) {
      const file = plan.files.find(({ number }) => number === index);
      if (file === undefined)
        throw new ImportError("storage_lost", `The upload has no file with number ${index}`);
      return Promise.resolve(entryOf(file));
    },
    close: () => reader.close(),
  };
}

function openStream(
  problem: FileProblem | null,
  signal: AbortSignal | undefined,
  unpack: () => AsyncIterable<Buffer>,
): Promise<Readable> {
  if (problem !== null) return Promise.reject(new ImportError(problem.code, problem.message));
  const stream = Readable.from(unpack(), { highWaterMark: 1 });
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
