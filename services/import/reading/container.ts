/** What holds files: a ZIP or tar archive, a gzip file, or an upload that is itself one file. */
import type { BlobReader } from "../../storage/BlobStore.js";
import type { ImportErrorCode } from "../verdicts.js";

export interface FileProblem {
  readonly code: ImportErrorCode;
  readonly message: string;
}

/** One file of a container. */
export interface FileRecord {
  /** 0-based place in the container, ignored places counted. */
  readonly index: number;
  readonly name: string;
  readonly unpackedBytes: number;
  /** Of the unpacked bytes; null when nothing states it. */
  readonly crc32: number | null;
  /** Why the file is not read. */
  readonly problem: FileProblem | null;
}

/**
 * Plain data and no reader, so that it can be kept when its file is closed: whoever unpacks brings a reader of the bytes
 * the container was read from.
 */
export interface Container {
  /** Places that can be numbered, ignored ones (folders, `.DS_Store`) counted. */
  readonly places: number;
  readonly records: readonly FileRecord[];
  /**
   * The first unpacked bytes of a file, at most `PEEK_BYTES`, without reading more than a few packed ones; fewer or none where the
   * file is damaged, which `unpack` will say.
   */
  peek(reader: BlobReader, record: FileRecord): Promise<Buffer>;
  /** Ends in ImportError `entry_corrupt`, `file_truncated` or `archive_limit` after the bytes that precede the place. */
  unpack(reader: BlobReader, record: FileRecord): AsyncIterable<Buffer>;
}

export const PEEK_BYTES = 512;

export type ContainerKind = "zip" | "gzip" | "tar";

const ZIP_STARTS: readonly number[] = [0x0304, 0x0506, 0x0708];
const GZIP_DEFLATE = [0x1f, 0x8b, 0x08];

/** What the first bytes of a file say it holds; null: it is a file of its own. */
export function containerKindOf(head: Buffer): ContainerKind | null {
  if (head.length >= 4 && head.readUInt16BE(0) === 0x504b && ZIP_STARTS.includes(head.readUInt16BE(2)))
    return "zip";
  if (head.length >= 3 && GZIP_DEFLATE.every((byte, at) => head[at] === byte)) return "gzip";
  return isTarHeader(head) ? "tar" : null;
}

const TAR_HEADER_BYTES = 512;
const TAR_CHECKSUM = { at: 148, bytes: 8 };
const TAR_MAGIC = { at: 257, text: "ustar" };

/** The mark alone could stand in any text; the checksum, a sum of bytes with spaces in its own place, cannot. */
function isTarHeader(head: Buffer): boolean {
  if (head.length < TAR_HEADER_BYTES) return false;
  const { at, text } = TAR_MAGIC;
  if (head.toString("latin1", at, at + text.length) !== text) return false;
  const sumEnd = TAR_CHECKSUM.at + TAR_CHECKSUM.bytes;
  let sum = 0;
  for (let place = 0; place < TAR_HEADER_BYTES; place += 1)
    sum += place >= TAR_CHECKSUM.at && place < sumEnd ? 0x20 : head.readUInt8(place);
  return parseInt(head.toString("latin1", TAR_CHECKSUM.at, sumEnd), 8) === sum;
}
