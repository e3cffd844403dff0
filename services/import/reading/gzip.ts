/** A gzip file as a container of one file. */
import { crc32 } from "node:zlib";
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import { readExactly } from "./blobAccess.js";
import { PEEK_BYTES, type Container, type FileProblem } from "./container.js";
import { inflateRange, isCutShort, isZlibError } from "./inflate.js";
import type { ReadLimits } from "./limits.js";
import { exceedsRatio, ratioProblem } from "./ratio.js";

const HEADER_BYTES = 10;
const TRAILER_BYTES = 8;
/** What most headers fit in, and what any header has to fit in: extra fields have up to 64 KiB, names are short. */
const HEADER_READS = [512, 128 * 1024];
/** Files that were packed in pieces and joined; each piece costs a little whatever its size. */
const MAX_MEMBERS = 1000;

const FLAG_CHECKSUM = 2;
const FLAG_EXTRA = 4;
const FLAG_NAME = 8;
const FLAG_COMMENT = 16;
const RESERVED_FLAGS = 0xe0;

/**
 * Unpacks the file once to learn its size, which nothing else tells truly; a damaged one has the size of what can be
 * unpacked. `name` is that of the packed file. Throws the reason of `signal` and errors of storage.
 */
export async function openGzip(
  reader: BlobReader,
  name: string,
  limits: ReadLimits,
  signal?: AbortSignal,
): Promise<Container> {
  let unpackedBytes = 0;
  let checksum = 0;
  let problem: FileProblem | null = null;
  try {
    for await (const piece of gunzip(reader, limits)) {
      signal?.throwIfAborted();
      unpackedBytes += piece.length;
      checksum = crc32(piece, checksum);
    }
  } catch (error) {
    if (!(error instanceof ImportError) || error.code === "storage_lost") throw error;
    if (error.code === "archive_limit") problem = { code: error.code, message: error.message };
  }
  const record = { index: 0, name: name.replace(/\.gz$/i, ""), unpackedBytes, crc32: checksum, problem };
  return {
    places: 1,
    records: [record],
    async peek(source) {
      const pieces = gunzip(source, limits);
      try {
        const first = await pieces.next();
        return first.done === true ? Buffer.alloc(0) : first.value.subarray(0, PEEK_BYTES);
      } catch (error) {
        if (error instanceof ImportError && error.code !== "storage_lost") return Buffer.alloc(0);
        throw error;
      } finally {
        await pieces.return(undefined);
      }
    },
    unpack: (source) => gunzip(source, limits),
  };
}

/** Not Node's own gunzip: it loses what stands before a damaged or foreign place, and how much depends on buffers. */
async function* gunzip(reader: BlobReader, limits: ReadLimits): AsyncGenerator<Buffer> {
  let total = 0;
  let at = 0;
  for (let member = 0; member === 0 || at < reader.sizeBytes; member += 1) {
    if (member === MAX_MEMBERS)
      throw new ImportError("archive_limit", `The file is packed in more than ${MAX_MEMBERS} pieces`);
    const start = await readHeader(reader, at);
    if (start === null) {
      if (member === 0) throw new ImportError("entry_corrupt", "The header of the packed file is damaged");
      if (await isPadding(reader, at)) return;
      throw new ImportError("entry_corrupt", "There is more data after the end of the packed file");
    }
    const inflating = inflateRange(reader, start, reader.sizeBytes);
    let size = 0;
    let checksum = 0;
    try {
      for await (const piece of inflating.bytes) {
        size += piece.length;
        total += piece.length;
        if (total > limits.entryMaxBytes)
          throw new ImportError(
            "archive_limit",
            `The file unpacks to more than ${limits.entryMaxBytes} bytes, all that the limits leave it`,
          );
        if (exceedsRatio(total, reader.sizeBytes, limits)) {
          const { code, message } = ratioProblem(limits);
          throw new ImportError(code, message);
        }
        checksum = crc32(piece, checksum);
        yield piece;
      }
    } catch (error) {
      if (isCutShort(error)) throw cutShort();
      if (isZlibError(error))
        throw new ImportError("entry_corrupt", "The packed data of the file is damaged", { cause: error });
      throw error;
    }
    const end = start + inflating.packedBytes();
    const trailer = await readExactly(reader, end, TRAILER_BYTES);
    if (trailer.length < TRAILER_BYTES) throw cutShort();
    if (trailer.readUInt32LE(0) !== checksum || trailer.readUInt32LE(4) !== size % 2 ** 32)
      throw new ImportError("entry_corrupt", "The checksum of the packed file is wrong");
    at = end + TRAILER_BYTES;
  }
}

/** Tapes, and tools that write as if to one, fill the last block with zeros. */
async function isPadding(reader: BlobReader, from: number): Promise<boolean> {
  for await (const piece of reader.createReadStream(from) as AsyncIterable<Buffer>)
    if (piece.some((byte) => byte !== 0)) return false;
  return true;
}

/** Where the packed data begins; null when there is no header of this kind. Throws `file_truncated`. */
async function readHeader(reader: BlobReader, at: number): Promise<number | null> {
  for (const most of HEADER_READS) {
    const bytes = await readExactly(reader, at, Math.min(most, reader.sizeBytes - at));
    const length = headerLength(bytes);
    if (length === null) return null;
    if (length <= bytes.length) return at + length;
    if (at + bytes.length >= reader.sizeBytes) throw cutShort();
  }
  return null;
}

/** Infinity when the header goes on beyond `bytes`; null when it is none. */
function headerLength(bytes: Buffer): number | null {
  if ([0x1f, 0x8b, 0x08].some((byte, at) => at < bytes.length && bytes[at] !== byte)) return null;
  if (bytes.length < HEADER_BYTES) return Infinity;
  const flags = bytes.readUInt8(3);
  if ((flags & RESERVED_FLAGS) !== 0) return null;
  let at = HEADER_BYTES;
  if ((flags & FLAG_EXTRA) !== 0) {
    if (at + 2 > bytes.length) return Infinity;
    at += 2 + bytes.readUInt16LE(at);
  }
  for (const flag of [FLAG_NAME, FLAG_COMMENT]) {
    if ((flags & flag) === 0) continue;
    const end = at < bytes.length ? bytes.indexOf(0, at) : -1;
    if (end < 0) return Infinity;
    at = end + 1;
  }
  return (flags & FLAG_CHECKSUM) === 0 ? at : at + 2;
}

function cutShort(): ImportError {
  return new ImportError("file_truncated", "The packed file ends too early");
}
