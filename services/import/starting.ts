import type { Logger } from "../../utils/logger.js";
import type { EnqueueOutcome, ImportQueue } from "./ImportQueue.js";
import type { JobRow } from "./jobs.js";

/**
 * Hands a committed, queued job to the queue. Never throws: what fails here is tried again by the reconciler, from
 * `next_start_at` on. Null when the queue did not take it.
 */
export async function enqueueJob(
  deps: { readonly queue: ImportQueue; readonly log: Logger },
  job: JobRow,
): Promise<EnqueueOutcome | null> {
  try {
    return await deps.queue.enqueue({
      kind: "import",
      importId: job.id,
      attempt: job.attempt,
      userId: job.user_id,
      provider: job.source?.split("-")[0] ?? null,
      jobKind: job.kind,
    });
  } catch (error) {
    deps.log.warn("an import could not be started now", { importId: job.id, attempt: job.attempt, error });
    return null;
  }
}
