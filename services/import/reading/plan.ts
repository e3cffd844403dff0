/**
 * Which files an upload holds, archives inside archives opened, and the number of each: a function of the bytes and the
 * limits alone, so that every attempt means the same file by the same number.
 *
 * Level by level: the places of the outermost archive come first, then those of the archives found in it in their order, and so on. So
 * a file of the outermost archive has its place there as its number, whatever else the upload holds.
 */
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import { readExactly } from "./blobAccess.js";
import {
  containerKindOf,
  PEEK_BYTES,
  type Container,
  type ContainerKind,
  type FileProblem,
  type FileRecord,
} from "./container.js";
import { openGzip } from "./gzip.js";
import type { ReadLimits } from "./limits.js";
import { openTar } from "./tarContainer.js";
import { zipContainer } from "./zipContainer.js";
import { readZipDirectory } from "./zipDirectory.js";

/** An archive inside the upload, or the upload itself. */
export interface PlannedContainer {
  readonly container: Container;
  readonly kind: ContainerKind | "loose";
  /** Archives around the files of this one; 0 for a loose file, which stands in none. */
  readonly depth: number;
  /** What the names of its files begin with: `outer.zip/`. */
  readonly prefix: string;
  /** Number of its first place. */
  readonly base: number;
  /** Null for the upload itself. */
  readonly within: PlannedFile | null;
}

export interface PlannedFile {
  readonly number: number;
  readonly name: string;
  readonly record: FileRecord;
  readonly problem: FileProblem | null;
  readonly container: PlannedContainer;
}

export interface UploadPlan {
  /** `loose`: one file and nothing around it, or nothing but gzip. */
  readonly kind: "archive" | "loose";
  /** By number; without those that were opened as archives. */
  readonly files: readonly PlannedFile[];
}

/** How the walk reads an archive inside an archive; the reader is closed by the walk. */
export type OpenNested = (file: PlannedFile) => Promise<BlobReader>;

/**
 * Throws ImportError for an upload that is not read at all (see `readZipDirectory`). What is wrong with an archive inside it
 * is the problem of that one file.
 */
export async function planUpload(
  upload: BlobReader,
  filename: string,
  limits: ReadLimits,
  openNested: OpenNested,
  signal?: AbortSignal,
): Promise<UploadPlan> {
  const outermost = await openOutermost(upload, filename, limits, signal);
  const total = { places: outermost.container.places, bytes: unpackedBytes(outermost.container) };
  const containers = [outermost];
  const files: PlannedFile[] = [];

  for (const planned of containers) {
    const reader = planned.within === null ? upload : await openNested(planned.within);
    try {
      for (const record of planned.container.records) {
        signal?.throwIfAborted();
        const file: PlannedFile = {
          number: planned.base + record.index,
          name: planned.prefix + record.name,
          record,
          problem: record.problem,
          container: planned,
        };
        const kind =
          file.problem === null ? containerKindOf(await planned.container.peek(reader, record)) : null;
        // A loose file that is an archive is the outermost one; what only looks like one has been told apart by then.
        if (kind === null || planned.depth === 0) files.push(file);
        else {
          const opened = await openInside(file, kind, total, { limits, openNested, signal });
          if ("container" in opened) containers.push(opened);
          else files.push({ ...file, problem: opened });
        }
      }
    } finally {
      if (reader !== upload) await reader.close();
    }
  }
  const [only] = files;
  const isOneFile = outermost.kind !== "zip" && outermost.kind !== "tar" && only?.number === 0;
  return {
    kind: isOneFile ? "loose" : "archive",
    files: files.sort((a, b) => a.number - b.number),
  };
}

async function openOutermost(
  upload: BlobReader,
  filename: string,
  limits: ReadLimits,
  signal: AbortSignal | undefined,
): Promise<PlannedContainer> {
  const found = { prefix: "", base: 0, within: null };
  const head = await readExactly(upload, 0, Math.min(PEEK_BYTES, upload.sizeBytes));
  const kind = containerKindOf(head);
  // Before the end is looked at: it may be that of a ZIP file which is the last one of the archive.
  if (kind === "tar")
    return { ...found, kind: "tar", container: await openTar(upload, limits, signal), depth: 1 };
  const zip = await readZipDirectory(upload, limits);
  if (zip !== null) return { ...found, kind: "zip", container: zipContainer(zip, limits), depth: 1 };
  if (kind === "gzip")
    return { ...found, kind: "gzip", container: await openGzip(upload, filename, limits, signal), depth: 1 };
  return { ...found, kind: "loose", container: looseContainer(upload, filename, limits), depth: 0 };
}

/** Counts what is opened in `total`, which holds for the whole upload; what does not fit any more is not opened. */
async function openInside(
  file: PlannedFile,
  kind: ContainerKind,
  total: { places: number; bytes: number },
  walk: {
    readonly limits: ReadLimits;
    readonly openNested: OpenNested;
    readonly signal: AbortSignal | undefined;
  },
): Promise<PlannedContainer | FileProblem> {
  const { limits } = walk;
  const depth = file.container.depth + 1;
  if (depth > limits.maxDepth)
    return tooMuch(`The archive is nested ${depth} deep; the limit is ${limits.maxDepth}`);
  try {
    const reader = await walk.openNested(file);
    try {
      const left = {
        ...limits,
        entryMaxBytes: Math.min(limits.entryMaxBytes, limits.unpackedMaxBytes - total.bytes),
      };
      const container =
        kind === "gzip"
          ? await openGzip(reader, file.record.name, left, walk.signal)
          : kind === "tar"
            ? await openTar(reader, limits, walk.signal)
            : await openZip(reader, limits);
      const places = total.places + container.places;
      if (places > limits.maxEntries)
        return tooMuch(
          `The upload has ${places} entries with this archive; the limit is ${limits.maxEntries}`,
        );
      const bytes = total.bytes + unpackedBytes(container);
      if (bytes > limits.unpackedMaxBytes)
        return tooMuch(
          `The upload unpacks to ${bytes} bytes with this archive; the limit is ${limits.unpackedMaxBytes}`,
        );
      const base = total.places;
      [total.places, total.bytes] = [places, bytes];
      // The name of a gzip file is that of the file in it.
      const prefix = kind === "gzip" ? file.container.prefix : `${file.name}/`;
      return { container, kind, depth, prefix, base, within: file };
    } finally {
      await reader.close();
    }
  } catch (error) {
    if (error instanceof ImportError && error.code !== "storage_lost")
      return { code: error.code, message: error.message };
    throw error;
  }
}

async function openZip(reader: BlobReader, limits: ReadLimits): Promise<Container> {
  const zip = await readZipDirectory(reader, limits);
  if (zip === null) throw new ImportError("not_a_zip");
  return zipContainer(zip, limits);
}

/** An upload that is neither ZIP, tar nor gzip: a container of itself. */
function looseContainer(upload: BlobReader, filename: string, limits: ReadLimits): Container {
  const { sizeBytes } = upload;
  const problem =
    sizeBytes <= limits.entryMaxBytes
      ? null
      : tooMuch(`The file has ${sizeBytes} bytes; the limit is ${limits.entryMaxBytes}`);
  return {
    places: 1,
    records: [{ index: 0, name: filename, unpackedBytes: sizeBytes, crc32: null, problem }],
    peek: (reader) => readExactly(reader, 0, Math.min(PEEK_BYTES, sizeBytes)),
    unpack: (reader) => reader.createReadStream(),
  };
}

const unpackedBytes = ({ records }: Container): number =>
  records.reduce((sum, record) => sum + record.unpackedBytes, 0);

function tooMuch(message: string): FileProblem {
  return { code: "archive_limit", message };
}
