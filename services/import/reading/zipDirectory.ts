/** The directory of a ZIP file: found, checked as a whole and reduced to what reading its files needs. */
import { isUtf8 } from "node:buffer";
import { fromRandomAccessReaderPromise, getFileNameLowLevel, validateFileName } from "yauzl";
import type { Entry, ZipFile } from "yauzl";
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import { BlobAccess, readExactly } from "./blobAccess.js";
import { containerKindOf, type FileProblem, type FileRecord } from "./container.js";
import type { ReadLimits } from "./limits.js";
import { exceedsRatio, ratioProblem } from "./ratio.js";

const END_RECORD = 0x06054b50;
const END_RECORD_BYTES = 22;
const ZIP64_LOCATOR = 0x07064b50;
const ZIP64_LOCATOR_BYTES = 20;
const ZIP64_END_RECORD = 0x06064b50;
const ZIP64_END_RECORD_BYTES = 56;
const DIRECTORY_HEADER = 0x02014b50;
const DIRECTORY_HEADER_BYTES = 46;
export const LOCAL_HEADER = 0x04034b50;
export const LOCAL_HEADER_BYTES = 30;
const MAX_COMMENT_BYTES = 0xffff;
const MAX_NAME_BYTES = 1024;

/** One file of the archive. Sizes and checksum are what the directory claims; nothing trusts them unchecked. */
export interface ZipRecord extends FileRecord {
  readonly crc32: number;
  readonly method: number;
  readonly packedBytes: number;
  /** Of the local header, in the archive's own counting (see `ZipDirectory.shift`). */
  readonly offset: number;
}

export interface ZipDirectory {
  /** Bytes in front of the archive that its offsets do not count, as self-extracting files have them. */
  readonly shift: number;
  /** Of all records, ignored ones too. */
  readonly places: number;
  /** Without folders, `__MACOSX/` and `.DS_Store`. */
  readonly records: readonly ZipRecord[];
}

interface EndRecord {
  readonly shift: number;
  readonly directoryOffset: number;
  readonly directoryBytes: number;
  readonly entryCount: number;
}

/**
 * Null when the file is no ZIP at all. Throws ImportError: `not_a_zip`, `unsafe_archive`, `archive_limit`, `encrypted`;
 * its message counts entries from 1 and gives no names, which can be personal and would stay in the queue's history.
 */
export async function readZipDirectory(blob: BlobReader, limits: ReadLimits): Promise<ZipDirectory | null> {
  const end = await findEndRecord(blob);
  if (end === null) {
    const head = await readExactly(blob, 0, Math.min(4, blob.sizeBytes));
    if (containerKindOf(head) === "zip") {
      throw new ImportError(
        "not_a_zip",
        "The ZIP file has no directory at its end; it was probably cut short",
      );
    }
    return null;
  }
  if (end.entryCount > limits.maxEntries) {
    throw new ImportError(
      "archive_limit",
      `The archive has ${end.entryCount} entries; the limit is ${limits.maxEntries}`,
    );
  }
  const records = await readRecords(blob, end, limits);
  assertNoOverlap(records, end.directoryOffset);
  const total = records.reduce((sum, record) => sum + record.unpackedBytes, 0);
  if (total > limits.unpackedMaxBytes) {
    throw new ImportError(
      "archive_limit",
      `The archive unpacks to ${total} bytes; the limit is ${limits.unpackedMaxBytes}`,
    );
  }
  return {
    shift: end.shift,
    places: records.length,
    records: records.filter(({ name }) => !isIgnored(name)),
  };
}

/** The last end record whose comment reaches exactly to the end of the file and which points at a directory. */
async function findEndRecord(blob: BlobReader): Promise<EndRecord | null> {
  const tailBytes = Math.min(blob.sizeBytes, END_RECORD_BYTES + MAX_COMMENT_BYTES);
  const tailStart = blob.sizeBytes - tailBytes;
  const tail = await readExactly(blob, tailStart, tailBytes);
  for (let at = tail.length - END_RECORD_BYTES; at >= 0; at -= 1) {
    if (tail.readUInt32LE(at) !== END_RECORD) continue;
    if (tail.readUInt16LE(at + 20) !== tail.length - at - END_RECORD_BYTES) continue;
    const found = await readEndRecord(blob, tail.subarray(at), tailStart + at);
    if (found !== null) return found;
  }
  return null;
}

async function readEndRecord(blob: BlobReader, record: Buffer, at: number): Promise<EndRecord | null> {
  let directoryEnd = at;
  let entryCount = record.readUInt16LE(10);
  let directoryBytes = record.readUInt32LE(12);
  let directoryOffset = record.readUInt32LE(16);
  const zip64At = at - ZIP64_LOCATOR_BYTES - ZIP64_END_RECORD_BYTES;
  if (zip64At >= 0) {
    const zip64 = await readExactly(blob, zip64At, ZIP64_END_RECORD_BYTES + ZIP64_LOCATOR_BYTES);
    if (
      zip64.readUInt32LE(ZIP64_END_RECORD_BYTES) === ZIP64_LOCATOR &&
      zip64.readUInt32LE(0) === ZIP64_END_RECORD
    ) {
      directoryEnd = zip64At;
      entryCount = Number(zip64.readBigUInt64LE(32));
      directoryBytes = Number(zip64.readBigUInt64LE(40));
      directoryOffset = Number(zip64.readBigUInt64LE(48));
    }
  }
  const shift = directoryEnd - directoryBytes - directoryOffset;
  if (!Number.isSafeInteger(shift) || shift < 0) return null;
  if (entryCount > 0) {
    const header = await readExactly(blob, shift + directoryOffset, 4);
    if (header.length < 4 || header.readUInt32LE(0) !== DIRECTORY_HEADER) return null;
  }
  return { shift, directoryOffset, directoryBytes, entryCount };
}

async function readRecords(blob: BlobReader, end: EndRecord, limits: ReadLimits): Promise<ZipRecord[]> {
  const source = new BlobAccess(blob, end.shift);
  const records: ZipRecord[] = [];
  const names = new Map<string, number>();
  let zip: ZipFile | null = null;
  let directoryBytes = 0;
  try {
    zip = await fromRandomAccessReaderPromise(source, blob.sizeBytes - end.shift, {
      autoClose: false,
      // Both off: yauzl would refuse the whole archive without saying which rule; the checks are ours.
      decodeStrings: false,
      validateEntrySizes: false,
    });
    for await (const entry of zip.eachEntry()) {
      directoryBytes +=
        DIRECTORY_HEADER_BYTES + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength;
      const record = describeEntry(entry, records.length, limits);
      const twin = names.get(record.name);
      if (twin !== undefined)
        throw unsafe(`Entries ${twin + 1} and ${record.index + 1} of the archive have the same name`);
      if (!record.name.endsWith("/")) names.set(record.name, record.index);
      records.push(record);
    }
  } catch (error) {
    if (error instanceof ImportError) throw error;
    if (source.failure !== null) throw source.failure.error;
    const reason = error instanceof Error ? error.message : String(error);
    if (/strong encryption/i.test(reason)) throw new ImportError("encrypted");
    throw new ImportError("not_a_zip", "The directory of the ZIP file is damaged", { cause: error });
  } finally {
    zip?.close();
  }
  // A directory that holds more than it counts would hide files from us that other programs show.
  if (directoryBytes !== end.directoryBytes) {
    const rest = await readExactly(blob, end.shift + end.directoryOffset + directoryBytes, 4);
    if (
      directoryBytes > end.directoryBytes ||
      (rest.length === 4 && rest.readUInt32LE(0) === DIRECTORY_HEADER)
    ) {
      throw new ImportError("not_a_zip", "The directory of the ZIP file does not have the size it claims");
    }
  }
  return records;
}

function describeEntry(entry: Entry, index: number, limits: ReadLimits): ZipRecord {
  if (entry.fileNameLength > MAX_NAME_BYTES)
    throw unsafe(`The name of entry ${index + 1} is longer than ${MAX_NAME_BYTES} bytes`);
  const name = entryName(entry);
  if (name === "" || name.includes("\0") || validateFileName(name) !== null) {
    throw unsafe(`The name of entry ${index + 1} points outside of the archive or is not valid`);
  }
  return {
    index,
    name,
    method: entry.compressionMethod,
    crc32: entry.crc32,
    packedBytes: entry.compressedSize,
    unpackedBytes: entry.uncompressedSize,
    offset: entry.relativeOffsetOfLocalHeader,
    problem: problemOf(entry, limits),
  };
}

/** Many programs write UTF-8 names without setting the flag for it; bytes that are valid UTF-8 hardly are anything else. */
function entryName(entry: Entry): string {
  const flags = isUtf8(entry.fileNameRaw) ? entry.generalPurposeBitFlag | 0x800 : entry.generalPurposeBitFlag;
  return getFileNameLowLevel(flags, entry.fileNameRaw, entry.extraFields, false);
}

function problemOf(entry: Entry, limits: ReadLimits): FileProblem | null {
  const madeOnUnix = entry.versionMadeBy >>> 8 === 3;
  const fileType = madeOnUnix ? (entry.externalFileAttributes >>> 16) & 0xf000 : 0;
  if (fileType !== 0 && fileType !== 0x8000 && fileType !== 0x4000) {
    return { code: "entry_unsupported", message: "A symbolic link or device, not a file" };
  }
  if (entry.isEncrypted()) return { code: "encrypted", message: "The file is encrypted" };
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
    return {
      code: "entry_unsupported",
      message: `The file is packed with method ${entry.compressionMethod}; only 0 (stored) and 8 (deflate) can be read`,
    };
  }
  if (entry.compressionMethod === 0 && entry.compressedSize !== entry.uncompressedSize) {
    return { code: "entry_corrupt", message: "The file is stored unpacked, but its two sizes differ" };
  }
  if (entry.uncompressedSize > limits.entryMaxBytes) {
    return {
      code: "archive_limit",
      message: `The file unpacks to ${entry.uncompressedSize} bytes; the limit is ${limits.entryMaxBytes}`,
    };
  }
  if (exceedsRatio(entry.uncompressedSize, entry.compressedSize, limits)) return ratioProblem(limits);
  return null;
}

/** Files that share bytes are how a small archive unpacks to a huge one while every single file looks harmless. */
function assertNoOverlap(records: readonly ZipRecord[], directoryOffset: number): void {
  const byOffset = [...records].sort((a, b) => a.offset - b.offset);
  byOffset.forEach((record, place) => {
    const end = record.offset + LOCAL_HEADER_BYTES + record.packedBytes;
    const next = byOffset[place + 1];
    if (end > (next?.offset ?? directoryOffset)) {
      throw new ImportError(
        "archive_limit",
        `Entry ${record.index + 1} shares bytes with ${next === undefined ? "the directory" : `entry ${next.index + 1}`}; the limit is 0 shared bytes`,
      );
    }
  });
}

function isIgnored(name: string): boolean {
  if (name.endsWith("/")) return true;
  const parts = name.split("/");
  return parts[0] === "__MACOSX" || parts.at(-1) === ".DS_Store";
}

function unsafe(message: string): ImportError {
  return new ImportError("unsafe_archive", message);
}
