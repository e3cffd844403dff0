/** A stream of bytes into an open file: counted, hashed, bounded, and given up at once when that is asked for. */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { PayloadTooLargeError } from "../../utils/errors.js";
import { onDisk } from "./diskErrors.js";

/** Bytes written between two looks at the free space. */
const SPACE_CHECK_BYTES = 64 * 1024 ** 2;

export interface Copied {
  readonly sizeBytes: number;
  /** 32 bytes. */
  readonly sha256: Buffer;
}

interface CopyOptions {
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
  /** Throws when there is too little of it. */
  readonly requireSpace: () => Promise<void>;
}

/**
 * Writes what `source` has left to the end of `file`; closes neither. Throws `PayloadTooLargeError` past `maxBytes`, the
 * reason of `signal`, and errors of the disk as `UnavailableError`.
 */
export async function copyInto(
  file: FileHandle,
  source: Readable,
  { maxBytes, signal, requireSpace }: CopyOptions,
): Promise<Copied> {
  const digest = createHash("sha256");
  const chunks = source.iterator({ destroyOnReturn: false });
  const abort = abortable(signal);
  let sizeBytes = 0;
  let uncheckedBytes = 0;
  try {
    for (;;) {
      const next: IteratorResult<unknown> = await abort.orSettled(chunks.next());
      if (next.done === true) return { sizeBytes, sha256: digest.digest() };
      const bytes = toBuffer(next.value);
      sizeBytes += bytes.length;
      if (sizeBytes > maxBytes) throw new PayloadTooLargeError(maxBytes, "upload");
      digest.update(bytes);
      await onDisk(() => writeAll(file, bytes));
      uncheckedBytes += bytes.length;
      if (uncheckedBytes >= SPACE_CHECK_BYTES) {
        uncheckedBytes = 0;
        await onDisk(requireSpace);
      }
    }
  } finally {
    abort.dispose();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}

function toBuffer(chunk: unknown): Buffer {
  if (Buffer.isBuffer(chunk)) return chunk;
  if (chunk instanceof Uint8Array || typeof chunk === "string") return Buffer.from(chunk);
  throw new TypeError("An upload must be a stream of bytes");
}

/**
 * Waits for one step after the other, and no longer once `signal` aborts: a stalled source must not hold that up. Not
 * `Promise.race` with one promise for all steps, which would keep what every step brought until the last.
 */
function abortable(signal: AbortSignal | undefined): {
  orSettled: <T>(step: Promise<T>) => Promise<T>;
  dispose: () => void;
} {
  let giveUp: ((reason: Error) => void) | undefined;
  const reason = (): Error =>
    signal?.reason instanceof Error ? signal.reason : new Error("The upload was aborted");
  const abort = (): void => giveUp?.(reason());
  signal?.addEventListener("abort", abort, { once: true });
  return {
    orSettled: (step) =>
      new Promise((resolve, reject) => {
        giveUp = reject;
        step.then(resolve, reject);
        if (signal?.aborted === true) abort();
      }),
    dispose: () => signal?.removeEventListener("abort", abort),
  };
}
