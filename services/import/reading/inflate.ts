/** Unpacking deflate data that stands somewhere in a stored file. */
import { pipeline, type TransformOptions } from "node:stream";
import { createInflateRaw, type ZlibOptions } from "node:zlib";
import type { BlobReader } from "../../storage/BlobStore.js";

export interface Inflating {
  readonly bytes: AsyncGenerator<Buffer>;
  /** Packed bytes that belonged to the data; final once `bytes` has ended. */
  packedBytes(): number;
}

/**
 * Unpacks from `start`; stops where the data says it ends, `end` (exclusive) at the latest. Damage throws what zlib
 * throws (see `isZlibError`); data that `end` cuts off is such an error too.
 */
export function inflateRange(reader: BlobReader, start: number, end: number): Inflating {
  // A high-water mark of 1 makes zlib wait for each block to be taken. With more, an error further on destroys
  // blocks that nobody has read yet, and how many records precede a damaged place would depend on timing.
  const options: ZlibOptions & TransformOptions = { chunkSize: 64 * 1024, readableHighWaterMark: 1 };
  const inflate = createInflateRaw(options);
  async function* bytes(): AsyncGenerator<Buffer> {
    const packed = reader.createReadStream(start, end);
    pipeline(packed, inflate, () => undefined);
    try {
      for await (const piece of inflate as AsyncIterable<Buffer>) yield piece;
    } finally {
      packed.destroy();
      inflate.destroy();
    }
  }
  return { bytes: bytes(), packedBytes: () => inflate.bytesWritten };
}

export function isZlibError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
}

/** True when all there was is in order, but more should have come. */
export const isCutShort = (error: unknown): boolean => isZlibError(error) && error.code === "Z_BUF_ERROR";
