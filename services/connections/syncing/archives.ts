/** One stage on the way to a provider's file: asked for, waited for, and in the end the upload of the job. */
import type { Pool, PoolClient } from "pg";
import { JobClosedError } from "../../import/jobs.js";
import type { JobRow } from "../../import/jobs.js";
import { releaseUpload } from "../../import/releaseUpload.js";
import type { StepContext } from "../../import/stepContext.js";
import { inTransaction } from "../../../db/transaction.js";
import type { BlobStore, StoredBlob } from "../../storage/BlobStore.js";
import type { ArchiveProvider, ArchiveStage, SyncAccess } from "../providers/types.js";
import { moveOn } from "./runState.js";
import type { Place } from "./runState.js";

export interface ArchiveDependencies {
  readonly pool: Pool;
  readonly blobs: BlobStore;
  readonly uploadMaxBytes: number;
}

export interface ArchiveTarget {
  readonly job: JobRow;
  readonly place: Place;
  readonly access: SyncAccess;
  readonly provider: ArchiveProvider;
}

/**
 * Stores what the provider came to, together with the file when there is one; a file that is not put on the job is deleted.
 * Throws what the provider throws, `JobClosedError`, `PlaceMovedError`.
 */
export async function archiveStage(
  { pool, blobs, uploadMaxBytes }: ArchiveDependencies,
  { job, place, access, provider }: ArchiveTarget,
  { signal, heartbeat, log }: StepContext,
): Promise<ArchiveStage["next"]> {
  heartbeat({ stage: place.pages });
  const { cursor, polledAt } = place;
  const stored: StoredBlob[] = [];
  try {
    const stage = await provider.archive({
      access,
      cursor,
      polledAt,
      signal,
      store: async (bytes) => {
        const blob = await blobs.put(bytes, { maxBytes: uploadMaxBytes, signal });
        stored.push(blob);
        return blob;
      },
    });
    await inTransaction(pool, async (client) => {
      await moveOn(client, job, place, stage.cursor, null);
      if (stage.next.kind === "upload") await putOnJob(client, job, stage.next);
    });
    return stage.next;
  } catch (error) {
    for (const { key } of stored) await releaseUpload({ pool, blobs, log }, job.user_id, key);
    throw error;
  }
}

/** Only of a job that is still this run's to work at; paused or cancelled meanwhile it has its file all the same. */
async function putOnJob(
  client: PoolClient,
  { id, attempt }: JobRow,
  { filename, blob }: Extract<ArchiveStage["next"], { kind: "upload" }>,
): Promise<void> {
  const put = await client.query(
    `update import_jobs
        set filename = $3, size_bytes = $4, sha256 = $5, blob_key = $6, version = version + 1,
            waiting_until = null, waiting_reason = case when status = 'paused' then waiting_reason end
      where id = $1 and attempt = $2 and status in ('running', 'paused', 'cancelling') and blob_key is null`,
    [id, attempt, filename, blob.sizeBytes, blob.sha256, blob.key],
  );
  if (put.rowCount !== 1) throw new JobClosedError({ importId: id, attempt });
}
