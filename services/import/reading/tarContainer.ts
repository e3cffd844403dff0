/** A tar archive as a container. What stands in it is told by reading it through once, for tar has no directory. */
import { pipeline } from "node:stream";
import { crc32 } from "node:zlib";
import { extract, type Header } from "tar-stream";
import { validateFileName } from "yauzl";
import type { BlobReader } from "../../storage/BlobStore.js";
import { ImportError } from "../verdicts.js";
import { readExactly } from "./blobAccess.js";
import { PEEK_BYTES, type Container, type FileProblem, type FileRecord } from "./container.js";
import type { ReadLimits } from "./limits.js";

const MAX_NAME_BYTES = 1024;
const READABLE_TYPES: ReadonlySet<unknown> = new Set(["file", "contiguous-file"]);

/** A file of the archive, and where its bytes begin. */
interface TarRecord extends FileRecord {
  readonly offset: number;
}

/**
 * Throws ImportError: `unsafe_archive` (names), `archive_limit` (entries, total size), `entry_corrupt`, `file_truncated`; and errors of
 * storage and the reason of `signal` as they are.
 */
export async function openTar(
  reader: BlobReader,
  limits: ReadLimits,
  signal?: AbortSignal,
): Promise<Container> {
  const { places, records } = await readEntries(reader, limits, signal);
  const byIndex = new Map(records.map((record) => [record.index, record]));
  const rangeOf = ({ index }: FileRecord): [start: number, bytes: number] => {
    const record = byIndex.get(index);
    if (record === undefined) throw new RangeError(`The archive has no record ${index}`);
    return [record.offset, record.unpackedBytes];
  };
  return {
    places,
    records,
    peek(source, record) {
      const [start, bytes] = rangeOf(record);
      return readExactly(source, start, Math.min(PEEK_BYTES, bytes));
    },
    unpack(source, record) {
      const [start, bytes] = rangeOf(record);
      return source.createReadStream(start, start + bytes);
    },
  };
}

async function readEntries(
  reader: BlobReader,
  limits: ReadLimits,
  signal: AbortSignal | undefined,
): Promise<{ readonly places: number; readonly records: TarRecord[] }> {
  const records: TarRecord[] = [];
  const names = new Set<string>();
  let places = 0;
  let total = 0;
  const source = reader.createReadStream();
  let failure: { readonly error: unknown } | null = null;
  source.on("error", (error) => (failure ??= { error }));
  const archive = extract();
  pipeline(source, archive, () => undefined);
  try {
    for await (const entry of archive) {
      signal?.throwIfAborted();
      const index = places;
      places += 1;
      if (places > limits.maxEntries)
        throw tooMuch(`The archive has more than ${limits.maxEntries} entries, which is the limit`);
      const name = safeName(entry.header, index);
      let checksum = 0;
      let bytes = 0;
      for await (const piece of entry as AsyncIterable<Buffer>) {
        signal?.throwIfAborted();
        checksum = crc32(piece, checksum);
        bytes += piece.length;
      }
      if (entry.header.type === "directory" || isIgnored(name)) continue;
      if (names.has(name)) throw unsafe(`Entry ${index + 1} of the archive has the name of another one`);
      names.add(name);
      total += bytes;
      if (total > limits.unpackedMaxBytes)
        throw tooMuch(
          `The archive unpacks to more than ${limits.unpackedMaxBytes} bytes, which is the limit`,
        );
      const problem = problemOf(entry.header, bytes, limits);
      records.push({
        index,
        name,
        unpackedBytes: bytes,
        crc32: checksum,
        problem,
        offset: offsetOf(entry.header),
      });
    }
  } catch (error) {
    if (error instanceof ImportError || signal?.aborted === true) throw error;
    // Set by the listener above, which the compiler cannot know.
    const storage = failure as { readonly error: unknown } | null;
    if (storage !== null) throw storage.error;
    const reason = error instanceof Error ? error.message : String(error);
    if (/unexpected end/i.test(reason))
      throw new ImportError("file_truncated", "The tar archive ends too early");
    throw new ImportError("entry_corrupt", "The tar archive is damaged", { cause: error });
  } finally {
    source.destroy();
    archive.destroy();
  }
  return { places, records };
}

/** Without the `./` that many archives put in front. */
function safeName({ name: given }: Header, index: number): string {
  const name = given.replace(/^(?:\.\/+)+/, "");
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw unsafe(`The name of entry ${index + 1} is longer than ${MAX_NAME_BYTES} bytes`);
  if ((name === "" && given === "") || name.includes("\0") || validateFileName(name) !== null)
    throw unsafe(`The name of entry ${index + 1} points outside of the archive or is not valid`);
  return name;
}

function problemOf({ type }: Header, bytes: number, limits: ReadLimits): FileProblem | null {
  if (!READABLE_TYPES.has(type))
    return { code: "entry_unsupported", message: "A link, a device or a sparse file, not an ordinary one" };
  if (bytes <= limits.entryMaxBytes) return null;
  return {
    code: "archive_limit",
    message: `The file unpacks to ${bytes} bytes; the limit is ${limits.entryMaxBytes}`,
  };
}

/** The reader of headers counts the bytes before the content, though its types do not say so. */
function offsetOf(header: Header): number {
  if ("byteOffset" in header && typeof header.byteOffset === "number") return header.byteOffset;
  throw new TypeError("The place of a file in a tar archive is not known");
}

/** Apple's computers add a file `._x` of attributes for each file x. */
function isIgnored(name: string): boolean {
  const parts = name.split("/");
  const last = parts.at(-1) ?? "";
  return last === "" || last === ".DS_Store" || last.startsWith("._") || parts[0] === "__MACOSX";
}

const unsafe = (message: string): ImportError => new ImportError("unsafe_archive", message);
const tooMuch = (message: string): ImportError => new ImportError("archive_limit", message);
