/** Blobs in memory and ZIP files with any lie in them, for tests of the reading side. */
import { Readable } from "node:stream";
import { crc32, deflateRawSync } from "node:zlib";
import * as reading from "../../../../services/import/reading/upload.js";
import type { NestedArchives, ReadLimits, Upload } from "../../../../services/import/reading/upload.js";
import type { RawRecord } from "../../../../services/import/types.js";
import type { BlobReader } from "../../../../services/storage/BlobStore.js";

export const LIMITS: ReadLimits = {
  entryMaxBytes: 64 * 1024 ** 2,
  unpackedMaxBytes: 256 * 1024 ** 2,
  maxEntries: 100,
  maxRatio: 200,
  recordMaxBytes: 64 * 1024,
  maxDepth: 4,
};

export interface MemoryBlob extends BlobReader {
  /** Bytes handed out so far. */
  bytesRead: number;
  closed: boolean;
}

/** A stored upload as openUpload sees it; hands out `pieceBytes` at a time. */
export function memoryBlob(bytes: Buffer, pieceBytes = 16 * 1024): MemoryBlob {
  const blob: MemoryBlob = {
    sizeBytes: bytes.length,
    bytesRead: 0,
    closed: false,
    createReadStream(start = 0, end = bytes.length) {
      let at = start;
      return new Readable({
        highWaterMark: 1,
        read() {
          const piece = bytes.subarray(at, Math.min(at + pieceBytes, end));
          at += piece.length;
          blob.bytesRead += piece.length;
          this.push(piece.length === 0 ? null : piece);
        },
      });
    },
    read(target, position) {
      const copied = position < bytes.length ? bytes.copy(target, 0, position) : 0;
      blob.bytesRead += copied;
      return Promise.resolve(copied);
    },
    version: () => Promise.resolve("1"),
    close() {
      blob.closed = true;
      return Promise.resolve();
    },
  };
  return blob;
}

export interface MemoryNested extends NestedArchives {
  /** Numbers in the order in which they were unpacked. */
  readonly unpacked: number[];
  readonly readers: MemoryBlob[];
}

/** Archives inside archives, kept in memory. */
export function memoryNested(pieceBytes?: number): MemoryNested {
  const kept = new Map<number, Buffer>();
  const nested: MemoryNested = {
    unpacked: [],
    readers: [],
    async open(number, _expected, unpack) {
      let bytes = kept.get(number);
      if (bytes === undefined) {
        const pieces: Buffer[] = [];
        for await (const piece of unpack()) pieces.push(piece);
        bytes = Buffer.concat(pieces);
        kept.set(number, bytes);
        nested.unpacked.push(number);
      }
      const reader = memoryBlob(bytes, pieceBytes);
      nested.readers.push(reader);
      return reader;
    },
  };
  return nested;
}

export const openUpload = (
  blob: BlobReader,
  filename: string | null,
  limits: ReadLimits,
  nested: NestedArchives = memoryNested(),
): Promise<Upload> => reading.openUpload(blob, { filename, limits, nested });

/** `bytes` as a stream of buffers of `pieceBytes`, the last one shorter. */
export function inPieces(bytes: Buffer, pieceBytes: number): Readable {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) pieces.push(bytes.subarray(at, at + pieceBytes));
  return Readable.from(pieces);
}

export async function readAll(stream: Readable): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream as AsyncIterable<Buffer>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** The error that `work` ends in; fails when it does not. */
export async function errorOf(work: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error("expected an error");
}

/** Reasons and values of records in a form that deep equality can compare. */
export function summary(records: readonly RawRecord[]): unknown[] {
  return records.map((record) => ("reason" in record ? record.reason : record.value));
}

/** One file of a test archive. Everything but name and data is derived unless it is given. */
export interface ZipFileSpec {
  readonly name: string | Buffer;
  readonly data?: Buffer | string;
  readonly stored?: boolean;
  readonly method?: number;
  readonly crc?: number;
  readonly unpackedBytes?: number;
  readonly flags?: number;
  /** Upper 16 bits of the external attributes, with "made on Unix". */
  readonly unixMode?: number;
  /** Packed bytes to write in place of the real ones. */
  readonly packed?: Buffer;
  /** Place in the file list whose bytes this one claims as its own. */
  readonly sameBodyAs?: number;
}

export interface ZipOptions {
  readonly comment?: string;
  readonly entryCount?: number;
  readonly zip64?: boolean;
}

export function buildZip(files: readonly ZipFileSpec[], options: ZipOptions = {}): Buffer {
  const local: Buffer[] = [];
  const directory: Buffer[] = [];
  const offsets: number[] = [];
  let offset = 0;
  for (const file of files) {
    const name = Buffer.from(file.name);
    const data = Buffer.from(file.data ?? "");
    const method = file.method ?? (file.stored === true ? 0 : 8);
    const packed = file.packed ?? (method === 0 ? data : deflateRawSync(data));
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(file.flags ?? 0x800, 2);
    fields.writeUInt16LE(method, 4);
    fields.writeUInt32LE(file.crc ?? crc32(data), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(file.unpackedBytes ?? data.length, 18);
    fields.writeUInt16LE(name.length, 22);

    const shared = file.sameBodyAs === undefined ? undefined : offsets[file.sameBodyAs];
    const at = shared ?? offset;
    offsets.push(at);
    if (shared === undefined) {
      const header = Buffer.concat([u32(0x04034b50), fields, name, packed]);
      local.push(header);
      offset += header.length;
    }
    const tail = Buffer.alloc(14);
    if (file.unixMode !== undefined) tail.writeUInt32LE((file.unixMode << 16) >>> 0, 6);
    tail.writeUInt32LE(at, 10);
    const madeBy = u16(file.unixMode === undefined ? 20 : (3 << 8) | 20);
    directory.push(u32(0x02014b50), madeBy, fields, tail, name);
  }
  const body = Buffer.concat(local);
  const list = Buffer.concat(directory);
  const count = options.entryCount ?? files.length;
  const comment = Buffer.from(options.comment ?? "");
  return Buffer.concat([
    body,
    list,
    options.zip64 === true ? zip64End(count, list.length, body.length) : Buffer.alloc(0),
    u32(0x06054b50),
    u16(0),
    u16(0),
    u16(options.zip64 === true ? 0xffff : count),
    u16(options.zip64 === true ? 0xffff : count),
    u32(options.zip64 === true ? 0xffffffff : list.length),
    u32(options.zip64 === true ? 0xffffffff : body.length),
    u16(comment.length),
    comment,
  ]);
}

function zip64End(count: number, listBytes: number, listAt: number): Buffer {
  const end = Buffer.alloc(56);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeBigUInt64LE(BigInt(count), 24);
  end.writeBigUInt64LE(BigInt(count), 32);
  end.writeBigUInt64LE(BigInt(listBytes), 40);
  end.writeBigUInt64LE(BigInt(listAt), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(listAt + listBytes), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([end, locator]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Mulberry32: the same numbers on every machine. */
export function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
