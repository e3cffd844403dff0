import type { BlobStore } from "../storage/BlobStore.js";
import type { JobRow } from "./jobs.js";
import type { ReadLimits } from "./reading/limits.js";
import { openUpload } from "./reading/upload.js";
import type { Upload } from "./reading/upload.js";
import { ImportError } from "./verdicts.js";

/**
 * Opens the stored upload of a job for the time of `work`. Throws `ImportError`: `storage_lost` when it is gone,
 * and what `openUpload` has to say about the archive as a whole.
 */
export async function withUpload<T>(
  deps: { readonly blobs: BlobStore; readonly limits: ReadLimits },
  job: JobRow,
  work: (upload: Upload) => Promise<T>,
): Promise<T> {
  if (job.blob_key === null) throw new ImportError("storage_lost");
  const reader = await deps.blobs.open(job.blob_key);
  let upload: Upload;
  try {
    upload = await openUpload(reader, job.filename, deps.limits);
  } catch (error) {
    await reader.close();
    throw error;
  }
  try {
    return await work(upload);
  } finally {
    await upload.close();
  }
}
