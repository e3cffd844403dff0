/** Uploads as files in one folder that the api and the worker share. */
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, open, readdir, rename, rm, stat, statfs, type FileHandle } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { PayloadTooLargeError, UnavailableError } from "../../utils/errors.js";
import { ImportError } from "../import/verdicts.js";
import type { BlobReader, StoredBlob, WorkerBlobStore } from "./BlobStore.js";
import { codeOf, onDisk, storageError, storageFull } from "./diskErrors.js";
import { FileBlobReader } from "./FileBlobReader.js";
import { CLOCK, fileClock } from "./fileClock.js";
import { spoolUsage } from "./spoolUsage.js";

const KEY = /^[0-9a-f]{32}$/;
const PARTIAL = ".partial";
/** Folder of the files made out of an upload: its key and this. */
const DERIVED = ".derived";
const DERIVED_NAME = /^[0-9a-z]{1,64}$/;
/** Bytes written between two looks at the free space. */
const SPACE_CHECK_BYTES = 64 * 1024 ** 2;
const GIB = 1024 ** 3;

export interface SpaceRule {
  /** Share of the disk that may be in use before uploads are refused ... */
  readonly maxUsedShare: number;
  /** ... unless this much is free all the same, as on a large and well-filled disk. */
  readonly enoughFreeBytes: number;
}

const DEFAULT_SPACE_RULE: SpaceRule = { maxUsedShare: 0.8, enoughFreeBytes: 20 * GIB };

export class FileBlobStore implements WorkerBlobStore {
  constructor(
    private readonly folder: string,
    private readonly spaceRule: SpaceRule = DEFAULT_SPACE_RULE,
  ) {}

  /**
   * See BlobStore. `source` is not destroyed when it is refused or writing fails: its owner may still have to
   * answer on the same connection.
   */
  async put(
    source: Readable,
    { maxBytes, signal }: { readonly maxBytes: number; readonly signal?: AbortSignal },
  ): Promise<StoredBlob> {
    signal?.throwIfAborted();
    // Until the first read nobody else listens, and an error without a listener ends the process.
    source.on("error", () => undefined);
    const key = randomBytes(16).toString("hex");
    const partial = path.join(this.folder, key + PARTIAL);
    await onDisk(async () => {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      await this.requireSpace();
    });
    try {
      // wx: never into a file, or through a link, that is already there.
      const file = await onDisk(() => open(partial, "wx", 0o600));
      let written: { sizeBytes: number; sha256: Buffer };
      try {
        written = await this.write(source, file, maxBytes, signal);
        await onDisk(() => file.sync());
        const { size } = await onDisk(() => file.stat());
        if (size !== written.sizeBytes) {
          throw new UnavailableError(
            "storage_unavailable",
            `Storage holds ${size} bytes of an upload of ${written.sizeBytes}`,
          );
        }
      } finally {
        await onDisk(() => file.close());
      }
      await onDisk(() => rename(partial, this.pathOf(key)));
      await onDisk(() => syncFolder(this.folder));
      return { key, ...written };
    } catch (error) {
      await discard(partial, this.pathOf(key));
      throw error;
    }
  }

  async open(key: string): Promise<BlobReader> {
    const reader = KEY.test(key) ? await openFile(this.pathOf(key)) : null;
    if (reader === null) throw new ImportError("storage_lost");
    return reader;
  }

  async delete(key: string): Promise<void> {
    if (!KEY.test(key)) return;
    await this.deleteDerived(key);
    await onDisk(() => rm(this.pathOf(key), { force: true }));
  }

  async openDerived(key: string, name: string): Promise<BlobReader | null> {
    return openFile(path.join(this.derivedFolder(key), derivedName(name)));
  }

  async putDerived(
    key: string,
    name: string,
    source: AsyncIterable<Buffer>,
    { maxBytes, signal }: { readonly maxBytes: number; readonly signal?: AbortSignal | undefined },
  ): Promise<BlobReader> {
    signal?.throwIfAborted();
    const folder = this.derivedFolder(key);
    // Two workers may make the same file at once: each writes its own, and either will do.
    const partial = path.join(folder, derivedName(name) + "." + randomBytes(8).toString("hex") + PARTIAL);
    const file = await onDisk(async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await this.requireSpace();
      return open(partial, "wx+", 0o600);
    });
    try {
      const stream = Readable.from(source, { highWaterMark: 1 });
      let sizeBytes: number;
      try {
        ({ sizeBytes } = await this.write(stream, file, maxBytes, signal));
      } finally {
        stream.destroy();
      }
      await onDisk(() => rename(partial, path.join(folder, name)));
      return new FileBlobReader(file, sizeBytes);
    } catch (error) {
      await file.close().catch(() => undefined);
      await discard(partial);
      throw error;
    }
  }

  async deleteDerived(key: string): Promise<void> {
    if (!KEY.test(key)) return;
    // Tried again by Node when somebody else adds a file meanwhile.
    await onDisk(() => rm(this.pathOf(key + DERIVED), { recursive: true, force: true, maxRetries: 3 }));
  }

  async derivedBytes(key: string): Promise<number> {
    return (await spoolUsage(this.derivedFolder(key)))?.bytes ?? 0;
  }

  async *derivedOlderThan(ageMs: number): AsyncGenerator<string> {
    for await (const name of this.namesOlderThan(ageMs, isDerived)) yield name.slice(0, -DERIVED.length);
  }

  async health(): Promise<{ readonly ok: boolean; readonly detail: string | null }> {
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      await access(this.folder, constants.R_OK | constants.W_OK | constants.X_OK);
      await this.requireSpace();
      return { ok: true, detail: null };
    } catch (error) {
      return {
        ok: false,
        detail: error instanceof UnavailableError ? error.message : (codeOf(error) ?? "unknown error"),
      };
    }
  }

  /**
   * Removes what interrupted uploads, and workers that were killed, left behind: partial files that nobody has written to
   * for `olderThanMs`. Returns how many. Safe beside running uploads as long as that is longer than a connection may stall.
   */
  async sweep(olderThanMs: number): Promise<number> {
    let removed = 0;
    const folders = [this.folder];
    for await (const name of this.namesOlderThan(0, isDerived)) folders.push(this.pathOf(name));
    for (const folder of folders)
      for await (const name of this.namesOlderThan(olderThanMs, isLeftOver, folder)) {
        await onDisk(() => rm(path.join(folder, name), { force: true }));
        removed += 1;
      }
    return removed;
  }

  keysOlderThan(ageMs: number): AsyncIterable<string> {
    return this.namesOlderThan(ageMs, (name) => KEY.test(name));
  }

  private async *namesOlderThan(
    ageMs: number,
    wanted: (name: string) => boolean,
    folder = this.folder,
  ): AsyncGenerator<string> {
    const names = await readdir(folder).catch((error: unknown) => {
      if (codeOf(error) === "ENOENT") return [];
      throw storageError(error);
    });
    if (ageMs === 0) {
      // Whatever their times say: these can be ahead of our clock by what the file system rounds.
      yield* names.filter(wanted);
      return;
    }
    let now: number | undefined;
    for (const name of names.filter(wanted)) {
      const writtenAt = await stat(path.join(folder, name)).then(
        ({ mtimeMs }) => mtimeMs,
        (error: unknown) => {
          if (codeOf(error) === "ENOENT") return null; // somebody else was quicker
          throw storageError(error);
        },
      );
      if (writtenAt === null || Date.now() - writtenAt < ageMs) continue;
      // What seems old is so only by the clock that dates files: that of this process may be hours ahead.
      now ??= await fileClock(this.folder);
      if (now - writtenAt >= ageMs) yield name;
    }
  }

  private async write(
    source: Readable,
    file: FileHandle,
    maxBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<{ sizeBytes: number; sha256: Buffer }> {
    const digest = createHash("sha256");
    const chunks = source.iterator({ destroyOnReturn: false });
    const abort = abortable(signal);
    let sizeBytes = 0;
    let uncheckedBytes = 0;
    try {
      for (;;) {
        const next: IteratorResult<unknown> = await abort.orSettled(chunks.next());
        if (next.done === true) return { sizeBytes, sha256: digest.digest() };
        const bytes = toBuffer(next.value);
        sizeBytes += bytes.length;
        if (sizeBytes > maxBytes) throw new PayloadTooLargeError(maxBytes, "upload");
        digest.update(bytes);
        await onDisk(() => writeAll(file, bytes));
        uncheckedBytes += bytes.length;
        if (uncheckedBytes >= SPACE_CHECK_BYTES) {
          uncheckedBytes = 0;
          await onDisk(() => this.requireSpace());
        }
      }
    } finally {
      abort.dispose();
    }
  }

  private async requireSpace(): Promise<void> {
    const { bsize, blocks, bfree, bavail } = await statfs(this.folder);
    // As df counts: blocks reserved for root are neither used nor free.
    const used = blocks - bfree;
    const usedShare = used + bavail === 0 ? 0 : used / (used + bavail);
    if (usedShare <= this.spaceRule.maxUsedShare) return;
    if (bavail * bsize >= this.spaceRule.enoughFreeBytes) return;
    throw storageFull(`${Math.floor(usedShare * 100)} % of the disk for uploads is in use`);
  }

  private pathOf(key: string): string {
    return path.join(this.folder, key);
  }

  private derivedFolder(key: string): string {
    if (!KEY.test(key)) throw new ImportError("storage_lost");
    return this.pathOf(key + DERIVED);
  }
}

const isLeftOver = (name: string): boolean => name.endsWith(PARTIAL) || name.endsWith(CLOCK);
const isDerived = (name: string): boolean =>
  name.endsWith(DERIVED) && KEY.test(name.slice(0, -DERIVED.length));

/** Never throws: the error that led here is the one to tell, and what cannot be removed now is swept. */
async function discard(...places: readonly string[]): Promise<void> {
  for (const place of places) await rm(place, { force: true }).catch(() => undefined);
}

function derivedName(name: string): string {
  if (!DERIVED_NAME.test(name))
    throw new TypeError("A derived file has a name of lower-case letters and digits");
  return name;
}

/** Null when there is none. Never through a link. */
async function openFile(place: string): Promise<BlobReader | null> {
  try {
    const file = await open(place, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return new FileBlobReader(file, (await file.stat()).size);
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw storageError(error);
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}

/** The name of a new file is on disk only when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function toBuffer(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  if (chunk instanceof Uint8Array || typeof chunk === "string") return Buffer.from(chunk);
  throw new TypeError("An upload must be a stream of bytes");
}

/**
 * Waits for one step after the other, and no longer once `signal` aborts: a stalled source must not hold that up. Not
 * `Promise.race` with one promise for all steps, which would keep what every step brought until the last.
 */
function abortable(signal: AbortSignal | undefined): {
  orSettled: <T>(step: Promise<T>) => Promise<T>;
  dispose: () => void;
} {
  let giveUp: ((reason: Error) => void) | undefined;
  const reason = (): Error =>
    signal?.reason instanceof Error ? signal.reason : new Error("The upload was aborted");
  const abort = (): void => giveUp?.(reason());
  signal?.addEventListener("abort", abort, { once: true });
  return {
    orSettled: (step) =>
      new Promise((resolve, reject) => {
        giveUp = reject;
        step.then(resolve, reject);
        if (signal?.aborted === true) abort();
      }),
    dispose: () => signal?.removeEventListener("abort", abort),
  };
}
