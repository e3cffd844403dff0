/** The stored upload of a job, for the time of a step. */
import type { Pool } from "pg";
import type { WorkerBlobStore } from "../storage/BlobStore.js";
import type { JobRow } from "./jobs.js";
import type { ReadLimits } from "./reading/limits.js";
import type { UploadPlan } from "./reading/plan.js";
import { bySha256, Proofs } from "./reading/proof.js";
import { spooledArchives } from "./reading/spooledArchives.js";
import { openUpload } from "./reading/upload.js";
import type { Upload } from "./reading/upload.js";
import { makeRoom } from "./unpackedRoom.js";
import { ImportError } from "./verdicts.js";

/** Plans kept: parts of one upload come one after the other, of a few uploads at a time. */
const PLANS_KEPT = 8;

/** What this process knows of the uploads of one store; forgetting any of it costs time only. */
interface Known {
  readonly proofs: Proofs;
  readonly plans: Map<string, UploadPlan>;
}
const known = new WeakMap<WorkerBlobStore, WeakMap<ReadLimits, Known>>();

/**
 * Opens the stored upload of a job for the time of `work`. Throws `ImportError`: `storage_lost` when it is gone or not
 * what was uploaded, also when it changes under `work`; and what `openUpload` has to say about the archive as a whole.
 */
export async function withUpload<T>(
  deps: { readonly pool: Pool; readonly blobs: WorkerBlobStore; readonly limits: ReadLimits },
  job: JobRow,
  work: (upload: Upload) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const { blob_key: key, sha256, size_bytes: sizeBytes } = job;
  if (key === null || sha256 === null || sizeBytes === null) throw new ImportError("storage_lost");
  const stored = await deps.blobs.open(key);
  try {
    const { proofs, plans } = knownOf(deps);
    const prove = bySha256(sizeBytes, sha256);
    const reader = await proofs.proved(key, stored, prove, changed, signal);
    if (reader === null) throw changed();
    // The bytes are proved, so what they hold is known by their hash.
    const planName = JSON.stringify([sha256.toString("hex"), job.filename]);
    const upload = await openUpload(reader, {
      filename: job.filename,
      limits: deps.limits,
      nested: spooledArchives(deps.blobs, key, proofs, (bytes) =>
        makeRoom(deps, job, bytes, deps.limits.unpackedMaxBytes),
      ),
      plan: plans.get(planName),
      signal,
    });
    remember(plans, planName, upload.plan);
    return await work(upload);
  } finally {
    await stored.close();
  }
}

const changed = (): ImportError =>
  new ImportError("storage_lost", "The stored upload is not what was uploaded: it has changed or is damaged");

function knownOf(deps: { readonly blobs: WorkerBlobStore; readonly limits: ReadLimits }): Known {
  const ofStore = known.get(deps.blobs) ?? new WeakMap<ReadLimits, Known>();
  known.set(deps.blobs, ofStore);
  const found = ofStore.get(deps.limits) ?? { proofs: new Proofs(), plans: new Map<string, UploadPlan>() };
  ofStore.set(deps.limits, found);
  return found;
}

/** The one used longest ago goes first. */
function remember(plans: Map<string, UploadPlan>, name: string, plan: UploadPlan): void {
  plans.delete(name);
  plans.set(name, plan);
  const [oldest] = plans.keys();
  if (plans.size > PLANS_KEPT && oldest !== undefined) plans.delete(oldest);
}
