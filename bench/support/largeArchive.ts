/** Files too large for memory, written to disk piece by piece: archives of a made-up listener, and noise. */
import { randomBytes } from "node:crypto";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { crc32, createDeflateRaw } from "node:zlib";
import { listenerRecords } from "./spotifyArchive.js";
import type { ListenerOptions } from "./spotifyArchive.js";

const PIECE_CHARS = 256 * 1024;
const NOISE_PIECE_BYTES = 1024 * 1024;
const DOS_DATE_1980 = 0x0021;
const CRC_AT = 14;

interface Entry {
  readonly name: Buffer;
  readonly offset: number;
  crc: number;
  packed: number;
  unpacked: number;
}

export interface LargeArchive {
  readonly bytes: number;
  readonly unpackedBytes: number;
  readonly parts: number;
}

/** A file inside an archive, as it is made. */
export interface ArchiveFile {
  readonly name: string;
  readonly pieces: Iterable<Buffer>;
}

/** A ZIP without ZIP64: archive and files must stay below 4 GiB, and there may be 65,535 files. */
export async function writeArchive(file: string, files: Iterable<ArchiveFile>): Promise<LargeArchive> {
  const handle = await open(file, "w");
  try {
    const entries: Entry[] = [];
    let at = 0;
    for (const { name: text, pieces } of files) {
      const name = Buffer.from(text);
      const entry: Entry = { name, offset: at, crc: 0, packed: 0, unpacked: 0 };
      await handle.write(localHeader(entry), 0, undefined, at);
      at += 30 + name.length;
      for await (const piece of deflated(pieces, entry)) {
        await handle.write(piece, 0, undefined, at);
        at += piece.length;
      }
      await handle.write(sizesOf(entry), 0, undefined, entry.offset + CRC_AT);
      entries.push(entry);
    }
    const end = await writeDirectory(handle, entries, at);
    return {
      bytes: end,
      unpackedBytes: entries.reduce((sum, entry) => sum + entry.unpacked, 0),
      parts: entries.length,
    };
  } finally {
    await handle.close();
  }
}

/** A ZIP of `rows` records of Spotify in files of `partRows` each; see `writeArchive`. */
export async function writeListenerArchive(
  file: string,
  options: ListenerOptions & { readonly partRows: number },
): Promise<LargeArchive> {
  const records = listenerRecords(options);
  function* files(): Generator<ArchiveFile> {
    for (let left = options.rows, n = 0; left > 0; left -= options.partRows, n += 1) {
      const name = `Spotify Extended Streaming History/Audio_${n}.json`;
      yield { name, pieces: jsonList(records, Math.min(left, options.partRows)) };
    }
  }
  return writeArchive(file, files());
}

/** `bytes` that begin like a ZIP, are none, and that nothing packs. */
export async function writeNoise(file: string, bytes: number): Promise<void> {
  const handle = await open(file, "w");
  try {
    await handle.write(Buffer.from("PK\x03\x04", "latin1"));
    for (let left = bytes - 4; left > 0; left -= NOISE_PIECE_BYTES)
      await handle.write(randomBytes(Math.min(left, NOISE_PIECE_BYTES)));
  } finally {
    await handle.close();
  }
}

/** The next `count` records as pieces of one JSON list; all of them when there are fewer. */
export function* jsonList(records: Iterator<unknown>, count = Infinity): Generator<Buffer> {
  function* texts(): Generator<string> {
    yield "[";
    for (let n = 0; n < count; n += 1) {
      const next = records.next();
      if (next.done === true) break;
      yield (n === 0 ? "" : ",") + JSON.stringify(next.value);
    }
    yield "]";
  }
  yield* inPieces(texts());
}

export function* inPieces(texts: Iterable<string>): Generator<Buffer> {
  let piece = "";
  for (const text of texts) {
    piece += text;
    if (piece.length < PIECE_CHARS) continue;
    yield Buffer.from(piece);
    piece = "";
  }
  if (piece !== "") yield Buffer.from(piece);
}

/** Deflates and notes sizes and checksum in `entry`. */
async function* deflated(pieces: Iterable<Buffer>, entry: Entry): AsyncGenerator<Buffer> {
  const deflate = createDeflateRaw({ level: 6 });
  const feeding = (async (): Promise<void> => {
    for (const piece of pieces) {
      entry.crc = crc32(piece, entry.crc);
      entry.unpacked += piece.length;
      if (!deflate.write(piece)) await new Promise((resolve) => deflate.once("drain", resolve));
    }
    deflate.end();
  })();
  for await (const piece of deflate as AsyncIterable<Buffer>) {
    entry.packed += piece.length;
    yield piece;
  }
  await feeding;
}

/** Checksum, packed and unpacked size, as both headers have them. */
function sizesOf({ crc, packed, unpacked }: Entry): Buffer {
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32LE(crc, 0);
  sizes.writeUInt32LE(packed, 4);
  sizes.writeUInt32LE(unpacked, 8);
  return sizes;
}

/** What both headers begin with after their signatures. */
function common(entry: Entry): Buffer {
  const bytes = Buffer.alloc(26);
  bytes.writeUInt16LE(20, 0); // version needed
  bytes.writeUInt16LE(8, 4); // deflated
  bytes.writeUInt16LE(DOS_DATE_1980, 8);
  sizesOf(entry).copy(bytes, 10);
  bytes.writeUInt16LE(entry.name.length, 22);
  return bytes;
}

const localHeader = (entry: Entry): Buffer =>
  Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common(entry), entry.name]);

async function writeDirectory(handle: FileHandle, entries: readonly Entry[], at: number): Promise<number> {
  const directory = Buffer.concat(
    entries.map((entry) => {
      const tail = Buffer.alloc(14);
      tail.writeUInt32LE(entry.offset, 10);
      const madeBy = Buffer.from([20, 3]); // version 2.0, Unix
      return Buffer.concat([Buffer.from("PK\x01\x02", "latin1"), madeBy, common(entry), tail, entry.name]);
    }),
  );
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(at, 16);
  await handle.write(Buffer.concat([directory, end]), 0, undefined, at);
  return at + directory.length + end.length;
}
