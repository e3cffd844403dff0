/** What holds files: a ZIP archive, a gzip file, or an upload that is itself one file. */
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

export type ContainerKind = "zip" | "gzip";

const ZIP_STARTS: readonly number[] = [0x0304, 0x0506, 0x0708];
const GZIP_DEFLATE = [0x1f, 0x8b, 0x08];

/** What the first bytes of a file say it holds; null: it is a file of its own. */
export function containerKindOf(head: Buffer): ContainerKind | null {
  if (head.length >= 4 && head.readUInt16BE(0) === 0x504b && ZIP_STARTS.includes(head.readUInt16BE(2)))
    return "zip";
  return head.length >= 3 && GZIP_DEFLATE.every((byte, at) => head[at] === byte) ? "gzip" : null;
}
