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
  /** The same text as before only while nobody has written to the stored bytes since; cheap enough for every read. */
  version(): Promise<string>;
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

/**
 * Files that the worker makes out of a stored upload, kept beside it: to make one again costs time only. They live no
 * longer than their upload.
 */
export interface DerivedFiles {
  /** Null when there is no such file. `name` is of letters and digits, chosen by us, never by an upload. */
  openDerived(key: string, name: string): Promise<BlobReader | null>;
  /**
   * Makes the file of what `source` yields and opens it; one that is there already is replaced, its readers keep the
   * old bytes. Leaves nothing behind when `source` throws, and throws the same. Throws as `BlobStore.put` does otherwise.
   */
  putDerived(
    key: string,
    name: string,
    source: AsyncIterable<Buffer>,
    options: { readonly maxBytes: number; readonly signal?: AbortSignal | undefined },
  ): Promise<BlobReader>;
  /** Deletes all files made out of this upload, unfinished ones too; deleting what is not there is no error. */
  deleteDerived(key: string): Promise<void>;
  /** Of all files made out of this upload, unfinished ones too. */
  derivedBytes(key: string): Promise<number>;
  /** Keys of uploads with such files to which none was added for that long, in no order. */
  derivedOlderThan(ageMs: number): AsyncIterable<string>;
}

/** What the worker needs of a store. */
export type WorkerBlobStore = BlobStore & DerivedFiles;
