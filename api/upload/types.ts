/** What the two ways of receiving a file, raw and in a form, take and give alike. */
import type { StoredBlob } from "../../services/storage/BlobStore.js";
import type { AppError } from "../../utils/errors.js";
import type { ArrivalLimits } from "./arrival.js";
import type { FileIntake } from "./intake.js";

/** `maxBytes` is that of the file. */
export interface UploadLimits extends ArrivalLimits {
  /** Asked again and again with how much of the file has come: another reason to stop. */
  readonly refuse?: (fileBytes: number) => AppError | null;
}

export interface Upload {
  readonly blob: StoredBlob;
  /** As the client calls it: a label, never a path. Null when it gives none. */
  readonly filename: string | null;
  /** Fields of a form, each given once; empty for a raw body. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface Received extends Upload {
  readonly intake: FileIntake;
}
