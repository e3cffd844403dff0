/** One file for the import, of however many a provider has divided an archive into. */
import type { Readable } from "node:stream";
import { ZipFile } from "yazl";
import { ProviderError } from "../errors.js";
import type { ProviderDownload } from "../http/providerFetch.js";

const MOST_FILES = 1000;
/** For each file; within the hour that a step may take. The size of an upload bounds them all. */
const DOWNLOAD_TIMEOUT_MS = 50 * 60 * 1000;
const DOWNLOAD_MAX_BYTES = 64 * 1024 ** 3;

export interface ArchiveBytes {
  readonly filename: string;
  /** Destroyed when nobody reads them any more, so that the downloads end. */
  readonly bytes: Readable;
}

/** A single file as it is; several are put into a ZIP as they come, one after the other. */
export function archiveOf(
  urls: readonly string[],
  download: ProviderDownload,
  signal: AbortSignal,
): ArchiveBytes {
  if (urls.length > MOST_FILES)
    throw new ProviderError("The archive has more files than an import may", false);
  const open = (url: string): Readable =>
    download({
      url,
      signal,
      timeoutMs: DOWNLOAD_TIMEOUT_MS,
      maxBytes: DOWNLOAD_MAX_BYTES,
      headers: { accept: "*/*" },
    });
  const [first] = urls;
  if (urls.length === 1 && first !== undefined) return { filename: "youtube.zip", bytes: open(first) };

  const archive = new ZipFile();
  // Its type knows the interface of streams; what it makes is one.
  const bytes = archive.outputStream as Readable;
  archive.on("error", (error: Error) => bytes.destroy(error));
  urls.forEach((url, index) => {
    archive.addReadStreamLazy(`archive-${index + 1}.zip`, { compress: false }, (give) => {
      const body = open(url);
      bytes.once("close", () => body.destroy());
      body.once("error", (error) => bytes.destroy(error));
      give(null, body);
    });
  });
  archive.end();
  return { filename: "youtube.zip", bytes };
}
