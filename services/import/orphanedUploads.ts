import type { Pool } from "pg";
import { blobsInUse } from "../../db/queries/imports.js";
import type { Logger } from "../../utils/logger.js";
import type { WorkerBlobStore } from "../storage/BlobStore.js";
import { OPEN_STATUSES } from "./jobs.js";

/** Far longer than it takes from the last byte of an upload to the row of its import. */
const ORPHAN_AGE_MS = 6 * 60 * 60 * 1000;
const KEYS_AT_ONCE = 500;
/** An import that was closed a moment ago may still have a reader at work. */
const SPARE_AGE_MS = 10 * 60 * 1000;

interface SweepDependencies {
  readonly pool: Pool;
  readonly blobs: WorkerBlobStore;
  readonly log: Logger;
}

/**
 * Deletes stored uploads that no import names: the api died before it wrote the row, or the account was erased with its
 * imports. So a store must not be shared by two databases. Then what `deleteSpareArchives` finds. Returns how many uploads.
 */
export async function deleteOrphanedUploads(deps: SweepDependencies): Promise<number> {
  let deleted = 0;
  const deleteUnnamed = async (keys: readonly string[]): Promise<void> => {
    const named = await blobsInUse(deps.pool, keys);
    for (const key of keys.filter((each) => !named.has(each))) {
      await deps.blobs.delete(key);
      deleted += 1;
    }
  };
  let keys: string[] = [];
  for await (const key of deps.blobs.keysOlderThan(ORPHAN_AGE_MS)) {
    keys.push(key);
    if (keys.length < KEYS_AT_ONCE) continue;
    await deleteUnnamed(keys);
    keys = [];
  }
  if (keys.length > 0) await deleteUnnamed(keys);
  if (deleted > 0) deps.log.info("uploads that no import names were deleted", { deleted });
  await deleteSpareArchives(deps);
  return deleted;
}

/**
 * Deletes the archives that were unpacked out of uploads which no import is reading any more: a worker was killed, or came
 * back to an import that had been closed meanwhile. Returns of how many uploads.
 */
export async function deleteSpareArchives(
  deps: SweepDependencies,
  olderThanMs = SPARE_AGE_MS,
): Promise<number> {
  const keys: string[] = [];
  for await (const key of deps.blobs.derivedOlderThan(olderThanMs)) keys.push(key);
  if (keys.length === 0) return 0;
  const read = await deps.pool.query<{ blob_key: string }>(
    "select blob_key from import_jobs where blob_key = any($1::text[]) and status = any($2::import_status[])",
    [keys, OPEN_STATUSES],
  );
  const open = new Set(read.rows.map((row) => row.blob_key));
  const spare = keys.filter((key) => !open.has(key));
  for (const key of spare) await deps.blobs.deleteDerived(key);
  if (spare.length > 0)
    deps.log.info("unpacked archives that no import reads were deleted", { uploads: spare.length });
  return spare.length;
}
