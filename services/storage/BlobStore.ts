/**
 * Where uploads are kept between the api that receives them and the worker that reads them.
 * Adapters: FileBlobStore (a folder both processes share); object storage can follow behind the same port.
 */
import type { Readable } from "node:stream";

export interface StoredBlob {
  readonly key: string;
  readonly sizeBytes: number;
  /** SHA-256 of the bytes, 32 bytes. */
  readonly sha256: Buffer;
}

export interface BlobReader {
  readonly sizeBytes: number;
  /** Bytes from `start` (inclusive) to `end` (exclusive). */
  createReadStream(start?: number, end?: number): Readable;
  /** Fills `target` from `position`; returns how many bytes were read (fewer only at the end). */
  read(target: Buffer, position: number): Promise<number>;
  close(): Promise<void>;
}

export interface BlobStore {
  /**
   * Streams `source` to storage, counting and hashing. Resolves only when the bytes are on disk (fsync) and
   * their count is checked against the file. Leaves nothing behind when it fails or `signal` aborts.
   * Throws `PayloadTooLargeError` past `maxBytes`, `UnavailableError("storage_full")` when space runs out.
   */
  put(
    source: Readable,
    options: { readonly maxBytes: number; readonly signal?: AbortSignal },
  ): Promise<StoredBlob>;
  /** Throws `ImportError("storage_lost")` when there is no such blob. */
  open(key: string): Promise<BlobReader>;
  /** Deleting what is not there is no error. */
  delete(key: string): Promise<void>;
  /** Keys of blobs whose last byte came longer ago than that, in no order. */
  keysOlderThan(ageMs: number): AsyncIterable<string>;
  health(): Promise<{ readonly ok: boolean; readonly detail: string | null }>;
}
