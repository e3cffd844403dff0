/**
 * Bytes of storage that are proved to be the ones that were put there: nothing of an upload that was changed or damaged
 * in storage is taken for what its owner sent.
 *
 * The whole file is hashed once; from then on its version is compared after every read, which costs next to nothing.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { crc32 } from "node:zlib";
import { UnavailableError } from "../../../utils/errors.js";
import type { BlobReader } from "../../storage/BlobStore.js";

/** Versions that were proved, of this many files at most. */
const REMEMBERED = 1000;
/** A file may be touched while it is hashed. */
const PROVE_ATTEMPTS = 10;

/** True when the bytes are the right ones. */
export type Prove = (reader: BlobReader, signal?: AbortSignal) => Promise<boolean>;

export const bySha256 =
  (sizeBytes: number, sha256: Buffer): Prove =>
  async (reader, signal) => {
    if (reader.sizeBytes !== sizeBytes) return false;
    const digest = createHash("sha256");
    await readWhole(reader, (bytes) => digest.update(bytes), signal);
    return digest.digest().equals(sha256);
  };

export const byCrc32 =
  (sizeBytes: number, expected: number): Prove =>
  async (reader, signal) => {
    if (reader.sizeBytes !== sizeBytes) return false;
    let checksum = 0;
    await readWhole(reader, (bytes) => (checksum = crc32(bytes, checksum)), signal);
    return checksum === expected;
  };

/** Which stored files this process has proved, and in which version. */
export class Proofs {
  readonly #versions = new Map<string, string>();

  /** The version of a file that its maker knows to be right. */
  accept(name: string, version: string): void {
    this.#versions.delete(name);
    this.#versions.set(name, version);
    const [oldest] = this.#versions.keys();
    if (this.#versions.size > REMEMBERED && oldest !== undefined) this.#versions.delete(oldest);
  }

  /**
   * A reader of the same bytes that gives none of a file that is not, or is no longer, the right one: it throws what
   * `wrong` makes. Null when it is not the right one now.
   */
  async proved(
    name: string,
    reader: BlobReader,
    prove: Prove,
    wrong: () => Error,
    signal?: AbortSignal,
  ): Promise<BlobReader | null> {
    let version: string | null = await reader.version();
    if (this.#versions.get(name) !== version) {
      version = await provedVersion(reader, prove, signal);
      if (version === null) return null;
      this.accept(name, version);
    }
    return watched(reader, version, prove, wrong);
  }
}

/** The version in which the bytes were proved to be the right ones; null when they are not. */
async function provedVersion(reader: BlobReader, prove: Prove, signal?: AbortSignal): Promise<string | null> {
  for (let attempt = 0; attempt < PROVE_ATTEMPTS; attempt += 1) {
    const version = await reader.version();
    if (!(await prove(reader, signal))) return null;
    if ((await reader.version()) === version) return version;
  }
  throw new UnavailableError(
    "storage_unavailable",
    "A stored file is touched all the time and cannot be proved",
  );
}

function watched(reader: BlobReader, version: string, prove: Prove, wrong: () => Error): BlobReader {
  let proved = version;
  /** After the read: what was written before it has moved the version by then. */
  const check = async (): Promise<void> => {
    if ((await reader.version()) === proved) return;
    // A backup program may touch a file without writing to it.
    const again = await provedVersion(reader, prove);
    if (again === null) throw wrong();
    proved = again;
  };
  async function* checked(start: number, end: number): AsyncGenerator<Buffer> {
    let missing = end - start;
    for await (const bytes of reader.createReadStream(start, end) as AsyncIterable<Buffer>) {
      await check();
      missing -= bytes.length;
      yield bytes;
    }
    if (missing > 0) throw wrong();
  }
  return {
    sizeBytes: reader.sizeBytes,
    createReadStream: (start = 0, end = reader.sizeBytes) =>
      Readable.from(checked(start, end), { highWaterMark: 1 }),
    async read(target, position) {
      const count = await reader.read(target, position);
      await check();
      return count;
    },
    version: () => reader.version(),
    close: () => reader.close(),
  };
}

async function readWhole(
  reader: BlobReader,
  take: (bytes: Buffer) => void,
  signal?: AbortSignal,
): Promise<void> {
  for await (const bytes of reader.createReadStream() as AsyncIterable<Buffer>) {
    signal?.throwIfAborted();
    take(bytes);
  }
}
