/** Reading a stored upload at given places. */
import type { Readable } from "node:stream";
import { RandomAccessReader } from "yauzl";
import type { BlobReader } from "../../storage/BlobStore.js";

/** yauzl asks for each entry of a directory twice, for a few bytes each time. */
const WINDOW_BYTES = 64 * 1024;

/** Fewer bytes only where the blob ends. */
export async function readExactly(blob: BlobReader, position: number, length: number): Promise<Buffer> {
  const target = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const read = await blob.read(target.subarray(filled), position + filled);
    if (read === 0) break;
    filled += read;
  }
  return target.subarray(0, filled);
}

/** A blob as yauzl reads one, without what stands in front of the archive. */
export class BlobAccess extends RandomAccessReader {
  /** Set when storage failed, which is no fault of the archive. */
  failure: { readonly error: unknown } | null = null;
  #window: { readonly start: number; readonly bytes: Buffer } = { start: 0, bytes: Buffer.alloc(0) };

  constructor(
    private readonly blob: BlobReader,
    private readonly shift: number,
  ) {
    super();
  }

  override read(
    target: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (err: Error | null) => void,
  ): void {
    this.#bytesAt(this.shift + position, length).then(
      (bytes) => {
        bytes.copy(target, offset);
        callback(bytes.length < length ? new Error("unexpected end of file") : null);
      },
      (error: unknown) => {
        this.failure = { error };
        callback(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return this.blob.createReadStream(this.shift + start, this.shift + end);
  }

  async #bytesAt(start: number, length: number): Promise<Buffer> {
    const from = start - this.#window.start;
    if (from < 0 || from + length > this.#window.bytes.length) {
      const bytes = await readExactly(this.blob, start, Math.max(length, WINDOW_BYTES));
      this.#window = { start, bytes };
      return bytes.subarray(0, length);
    }
    return this.#window.bytes.subarray(from, from + length);
  }
}
