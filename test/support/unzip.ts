/** Reads an archive whole with yauzl, which knows nothing of the code that wrote it. */
import { once } from "node:events";
import { crc32 } from "node:zlib";
import { fromBufferPromise } from "yauzl";

export interface UnzippedFile {
  readonly text: string;
  readonly modified: Date;
}

/** By name, in the order of the directory. Throws when the archive is not whole, or a checksum is wrong. */
export async function unzip(archive: Buffer): Promise<Map<string, UnzippedFile>> {
  const zip = await fromBufferPromise(archive, { lazyEntries: true, validateEntrySizes: true });
  const files = new Map<string, UnzippedFile>();
  for await (const entry of zip.eachEntry()) {
    const chunks: Buffer[] = [];
    const stream = await zip.openReadStreamPromise(entry);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(stream, "end");
    const bytes = Buffer.concat(chunks);
    if (crc32(bytes) !== entry.crc32) throw new Error(`${entry.fileName} has another checksum`);
    files.set(entry.fileName, { text: bytes.toString("utf8"), modified: entry.getLastModDate() });
  }
  return files;
}
