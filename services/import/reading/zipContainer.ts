/** A ZIP archive as a container: the bytes of its files, checked while they pass. */
import { constants, crc32, inflateRawSync } from "node:zlib";
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import { readExactly } from "./blobAccess.js";
import { PEEK_BYTES, type Container, type FileRecord } from "./container.js";
import { inflateRange, isZlibError } from "./inflate.js";
import type { ReadLimits } from "./limits.js";
import { exceedsRatio, ratioProblem } from "./ratio.js";
import { LOCAL_HEADER, LOCAL_HEADER_BYTES } from "./zipDirectory.js";
import type { ZipDirectory, ZipRecord } from "./zipDirectory.js";

/** Long enough for the longest table that packed data can begin with. */
const PEEK_PACKED_BYTES = 1024;

export function zipContainer({ shift, places, records }: ZipDirectory, limits: ReadLimits): Container {
  const byIndex = new Map(records.map((record) => [record.index, record]));
  const recordOf = ({ index }: FileRecord): ZipRecord => {
    const record = byIndex.get(index);
    if (record === undefined) throw new RangeError(`The archive has no record ${index}`);
    return record;
  };
  return {
    places,
    records,
    peek: (reader, record) => peek(reader, shift, recordOf(record)),
    unpack: (reader, record) => unpack(reader, shift, recordOf(record), limits),
  };
}

async function peek(blob: BlobReader, shift: number, record: ZipRecord): Promise<Buffer> {
  let start: number;
  try {
    start = shift + (await findData(blob, shift, record));
  } catch (error) {
    if (error instanceof ImportError && error.code === "entry_corrupt") return Buffer.alloc(0);
    throw error;
  }
  const packed = await readExactly(blob, start, Math.min(PEEK_PACKED_BYTES, record.packedBytes));
  if (record.method === 0) return packed.subarray(0, PEEK_BYTES);
  try {
    // Of so few bytes a whole megabyte can come at most.
    return inflateRawSync(packed, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, PEEK_BYTES);
  } catch (error) {
    if (isZlibError(error)) return Buffer.alloc(0);
    throw error;
  }
}

/**
 * Unpacks one file. What the directory claims about it is proved here: a byte more or less than its size, or
 * another checksum, is `entry_corrupt`. As the sum of the claims was checked against the limit for the whole
 * archive, so is the sum of what is read, over any number of attempts.
 */
async function* unpack(
  blob: BlobReader,
  shift: number,
  record: ZipRecord,
  limits: ReadLimits,
): AsyncGenerator<Buffer> {
  const start = shift + (await findData(blob, shift, record));
  let size = 0;
  let checksum = 0;
  for await (const bytes of record.method === 0
    ? stored(blob, start, record)
    : inflated(blob, start, record)) {
    size += bytes.length;
    if (size > limits.entryMaxBytes) {
      throw new ImportError("archive_limit", `The file unpacks to more than ${limits.entryMaxBytes} bytes`);
    }
    if (exceedsRatio(size, record.packedBytes, limits)) {
      const { code, message } = ratioProblem(limits);
      throw new ImportError(code, message);
    }
    if (size > record.unpackedBytes) throw corrupt("The file is larger than the archive says");
    checksum = crc32(bytes, checksum);
    yield bytes;
  }
  if (size < record.unpackedBytes) throw corrupt("The file is smaller than the archive says");
  if (checksum !== record.crc32) throw corrupt("The checksum of the file is wrong");
}

/** Where the data begins is written only in the file's own header, in front of it. */
async function findData(blob: BlobReader, shift: number, record: ZipRecord): Promise<number> {
  const header = await readExactly(blob, shift + record.offset, LOCAL_HEADER_BYTES);
  if (header.length < LOCAL_HEADER_BYTES || header.readUInt32LE(0) !== LOCAL_HEADER) {
    throw corrupt("The file is not where the archive says");
  }
  const start = record.offset + LOCAL_HEADER_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
  if (shift + start + record.packedBytes > blob.sizeBytes) throw corrupt("The file ends beyond the archive");
  return start;
}

function stored(blob: BlobReader, start: number, record: ZipRecord): AsyncIterable<Buffer> {
  return blob.createReadStream(start, start + record.packedBytes);
}

async function* inflated(blob: BlobReader, start: number, record: ZipRecord): AsyncGenerator<Buffer> {
  try {
    yield* inflateRange(blob, start, start + record.packedBytes).bytes;
  } catch (error) {
    if (isZlibError(error)) throw corrupt("The packed data of the file is damaged", error);
    throw error;
  }
}

function corrupt(message: string, cause?: unknown): ImportError {
  return new ImportError("entry_corrupt", message, { cause });
}
