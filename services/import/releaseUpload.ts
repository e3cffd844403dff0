import type { Pool } from "pg";
import { isBlobInUse } from "../../db/queries/imports.js";
import type { Logger } from "../../utils/logger.js";
import type { BlobStore, DerivedFiles } from "../storage/BlobStore.js";
import { findJob } from "./jobs.js";

/**
 * Deletes a stored upload that became no import. Accepting may fail after the import was written, so the file
 * goes only when no import of the user stands on it. When even that cannot be told, it stays: a file too many is
 * a smaller loss than an import without its file. Never throws.
 */
export async function releaseUpload(
  deps: { readonly pool: Pool; readonly blobs: BlobStore; readonly log: Logger },
  userId: string,
  blobKey: string,
): Promise<void> {
  try {
    if (!(await isBlobInUse(deps.pool, userId, blobKey))) await deps.blobs.delete(blobKey);
  } catch (error) {
    deps.log.warn("an upload that became no import could not be deleted", { userId, error });
  }
}

/**
 * Deletes the archives that were unpacked out of the upload of a closed import. Never throws: what fails here is done by
 * the next sweep (`deleteSpareArchives`).
 */
export async function deleteSpooledArchives(
  deps: { readonly pool: Pool; readonly blobs: DerivedFiles },
  importId: string,
): Promise<void> {
  try {
    const job = await findJob(deps.pool, importId);
    if (job?.blob_key != null) await deps.blobs.deleteDerived(job.blob_key);
  } catch {
    return;
  }
}
