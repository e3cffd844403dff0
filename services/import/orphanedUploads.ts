import type { Pool } from "pg";
import { blobsInUse } from "../../db/queries/imports.js";
import type { Logger } from "../../utils/logger.js";
import type { BlobStore } from "../storage/BlobStore.js";

/** Far longer than it takes from the last byte of an upload to the row of its import. */
const ORPHAN_AGE_MS = 6 * 60 * 60 * 1000;
const KEYS_AT_ONCE = 500;

/**
 * Deletes stored uploads that no import names: the api died before it wrote the row, or the account was erased with its
 * imports. So a store must not be shared by two databases. Returns how many.
 */
export async function deleteOrphanedUploads(deps: {
  readonly pool: Pool;
  readonly blobs: BlobStore;
  readonly log: Logger;
}): Promise<number> {
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
  return deleted;
}
