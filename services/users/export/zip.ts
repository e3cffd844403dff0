/** A ZIP archive as it is being made: nothing is known of a file before its last byte, and no file is held. */
import { addAbortSignal, type PassThrough, Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { ZipFile } from "yazl";

export interface ZipEntry {
  /** A path with slashes. */
  readonly name: string;
  /** Pieces of any size; read once, when the files before it are read. */
  readonly content: AsyncIterable<string> | Iterable<string>;
}

const FILE_MODE = 0o100644;

/**
 * Reads little further ahead than it is read, and nothing any more once it is destroyed. Fails as its content fails: an
 * archive that ends is whole.
 *
 * @param at is written into the archive as the time of every file
 */
export function zipStream(entries: AsyncIterable<ZipEntry> | Iterable<ZipEntry>, at: Date): Readable {
  const zip = new ZipFile();
  const archive = zip.outputStream as PassThrough; // typed as less than it is
  const stop = new AbortController();
  archive.once("close", () => stop.abort());
  addAll(zip, entries, at, stop.signal).catch((error: unknown) => archive.destroy(error as Error));
  return archive;
}

async function addAll(
  zip: ZipFile,
  entries: AsyncIterable<ZipEntry> | Iterable<ZipEntry>,
  at: Date,
  signal: AbortSignal,
): Promise<void> {
  for await (const { name, content } of entries) {
    const source = addAbortSignal(signal, Readable.from(content));
    const over = finished(source);
    zip.addReadStream(source, name, { mtime: at, mode: FILE_MODE });
    await over;
  }
  zip.end();
}
