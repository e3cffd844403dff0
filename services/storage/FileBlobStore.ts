/** Uploads as files in one folder that the api and the worker share. */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { UnavailableError } from "../../utils/errors.js";
import { ImportError } from "../import/verdicts.js";
import type { BlobReader, StoredBlob, WorkerBlobStore } from "./BlobStore.js";
import { type Copied, copyInto } from "./copyInto.js";
import { codeOf, onDisk, storageError } from "./diskErrors.js";
import { requireSpace, type SpaceRule, USUAL_SPACE_RULE } from "./diskSpace.js";
import { FileBlobReader } from "./FileBlobReader.js";
import { CLOCK, fileClock } from "./fileClock.js";
import { spoolUsage } from "./spoolUsage.js";

const KEY = /^[0-9a-f]{32}$/;
const PARTIAL = ".partial";
/** Folder of the files made out of an upload: its key and this. */
const DERIVED = ".derived";
const DERIVED_NAME = /^[0-9a-z]{1,64}$/;

export class FileBlobStore implements WorkerBlobStore {
  constructor(
    private readonly folder: string,
    private readonly spaceRule: SpaceRule = USUAL_SPACE_RULE,
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
      let written: Copied;
      try {
        written = await copyInto(file, source, { maxBytes, signal, requireSpace: () => this.requireSpace() });
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
        ({ sizeBytes } = await copyInto(file, stream, {
          maxBytes,
          signal,
          requireSpace: () => this.requireSpace(),
        }));
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

  private requireSpace(): Promise<void> {
    return requireSpace(this.folder, this.spaceRule);
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

/** The name of a new file is on disk only when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
