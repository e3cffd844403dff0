/** The bytes of one file of a ZIP archive, checked while they pass. */
import { pipeline, type TransformOptions } from "node:stream";
import { crc32, createInflateRaw, type ZlibOptions } from "node:zlib";
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import { readExactly } from "./blobAccess.js";
import type { ReadLimits } from "./limits.js";
import { LOCAL_HEADER, LOCAL_HEADER_BYTES, exceedsRatio, ratioProblem } from "./zipDirectory.js";
import type { ZipRecord } from "./zipDirectory.js";

/**
 * Unpacks one file. What the directory claims about it is proved here: a byte more or less than its size, or
 * another checksum, is `entry_corrupt`. As the sum of the claims was checked against the limit for the whole
 * archive, so is the sum of what is read, over any number of attempts.
 */
export async function* unpack(
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
  const packed = blob.createReadStream(start, start + record.packedBytes);
  // A high-water mark of 1 makes zlib wait for each block to be taken. With more, an error further on destroys
  // blocks that nobody has read yet, and how many records precede a damaged place would depend on timing.
  const options: ZlibOptions & TransformOptions = { chunkSize: 64 * 1024, readableHighWaterMark: 1 };
  const inflate = createInflateRaw(options);
  pipeline(packed, inflate, () => undefined);
  try {
    for await (const bytes of inflate as AsyncIterable<Buffer>) yield bytes;
  } catch (error) {
    if (isZlibError(error)) throw corrupt("The packed data of the file is damaged", error);
    throw error;
  } finally {
    packed.destroy();
    inflate.destroy();
  }
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
}

function corrupt(message: string, cause?: unknown): ImportError {
  return new ImportError("entry_corrupt", message, { cause });
}
