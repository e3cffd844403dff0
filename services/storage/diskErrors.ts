/** What the disk says, as the errors that the rest of playlog knows. */
import { UnavailableError } from "../../utils/errors.js";

/** What the file system says when it is full, over quota, or does not allow a file this large. */
const FULL_CODES: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Errors of the disk as `UnavailableError`. */
export async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error);
  }
}

export function storageError(error: unknown): unknown {
  const code = codeOf(error);
  if (code === undefined || error instanceof UnavailableError) return error;
  if (FULL_CODES.has(code)) return storageFull("The disk for uploads is full", error);
  return new UnavailableError("storage_unavailable", `The storage for uploads does not work (${code})`, 30, {
    cause: error,
  });
}

export function storageFull(message: string, cause?: unknown): UnavailableError {
  return new UnavailableError("storage_full", message, 60, { cause });
}

/** Code of an error of the system, `ENOENT`; undefined for any other error. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" && "errno" in error
    ? error.code
    : undefined;
}
