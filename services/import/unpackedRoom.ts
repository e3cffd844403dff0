/** How much room the unpacked archives of one account may take in the spool. */
import type { Pool } from "pg";
import type { DerivedFiles } from "../storage/BlobStore.js";
import type { JobRow } from "./jobs.js";
import { OPEN_STATUSES } from "./jobs.js";

/**
 * Makes room for `bytes` more of this import: together with its own, the unpacked archives of its owner take at most
 * `maxBytes` afterwards, for those of other imports are deleted, of paused ones and old ones first. That costs these
 * imports time only. Two steps that make room at once may each leave what the other is about to write.
 */
export async function makeRoom(
  { pool, blobs }: { readonly pool: Pool; readonly blobs: DerivedFiles },
  job: JobRow,
  bytes: number,
  maxBytes: number,
): Promise<void> {
  const found = await pool.query<{ blob_key: string }>(
    `select blob_key from import_jobs
      where user_id = $1 and id <> $2 and blob_key is not null and status = any($3::import_status[])
      order by status <> 'paused', created_at, id`,
    [job.user_id, job.id, OPEN_STATUSES],
  );
  const others: { readonly key: string; readonly bytes: number }[] = [];
  for (const { blob_key: key } of found.rows) others.push({ key, bytes: await blobs.derivedBytes(key) });
  let taken = bytes + (job.blob_key === null ? 0 : await blobs.derivedBytes(job.blob_key));
  for (const other of others) taken += other.bytes;
  for (const other of others) {
    if (taken <= maxBytes) return;
    await blobs.deleteDerived(other.key);
    taken -= other.bytes;
  }
}
