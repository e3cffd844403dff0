/** Reading one file of the store. */
import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import type { BlobReader } from "./BlobStore.js";
import { onDisk, storageError } from "./diskErrors.js";

const READ_BYTES = 256 * 1024;

/** Owns `file`. */
export class FileBlobReader implements BlobReader {
  constructor(
    private readonly file: FileHandle,
    readonly sizeBytes: number,
  ) {}

  createReadStream(start = 0, end = this.sizeBytes): Readable {
    // Not fs.createReadStream: on a shared FileHandle each stream leaves a listener behind.
    let at = start;
    const file = this.file;
    return new Readable({
      highWaterMark: READ_BYTES,
      read(): void {
        const wanted = Math.min(READ_BYTES, end - at);
        if (wanted <= 0) {
          this.push(null);
          return;
        }
        const target = Buffer.allocUnsafe(wanted);
        file.read(target, 0, wanted, at).then(
          ({ bytesRead }) => {
            at += bytesRead;
            this.push(bytesRead === 0 ? null : target.subarray(0, bytesRead));
          },
          (cause: unknown) => {
            const error = storageError(cause);
            this.destroy(error instanceof Error ? error : new Error(String(error)));
          },
        );
      },
    });
  }

  async read(target: Buffer, position: number): Promise<number> {
    if (target.length === 0) return 0;
    let filled = 0;
    while (filled < target.length) {
      const { bytesRead } = await onDisk(() =>
        this.file.read(target, filled, target.length - filled, position + filled),
      );
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  }

  /** Writing moves the times of a file, and nothing can move the second of them back. */
  async version(): Promise<string> {
    const { ino, size, mtimeNs, ctimeNs } = await onDisk(() => this.file.stat({ bigint: true }));
    return [ino, size, mtimeNs, ctimeNs].join("-");
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
