import type { Logger } from "../../utils/logger.js";
import type { EnqueueOutcome, ImportQueue, QueuedImport, QueuedUndo } from "./ImportQueue.js";
import type { JobRow } from "./jobs.js";

interface StartingDependencies {
  readonly queue: ImportQueue;
  readonly log: Logger;
}

/**
 * Hands a committed, queued job to the queue. Never throws: what fails here is tried again by the reconciler, from
 * `next_start_at` on. Null when the queue did not take it.
 */
export async function enqueueJob(deps: StartingDependencies, job: JobRow): Promise<EnqueueOutcome | null> {
  const { attempt, kind: jobKind, connection_id: connectionId } = job;
  return enqueue(deps, { kind: "import", ...addressOf(job), attempt, jobKind, connectionId });
}

/** The same for a job that is to be undone. */
export async function enqueueUndo(deps: StartingDependencies, job: JobRow): Promise<EnqueueOutcome | null> {
  return enqueue(deps, { kind: "undo", ...addressOf(job) });
}

const addressOf = (job: JobRow) => ({
  importId: job.id,
  userId: job.user_id,
  provider: providerOf(job),
});

/** What was asked for, or else what was found in the upload: `mixed` of several. Null before anybody has looked. */
function providerOf({ source, sources }: Pick<JobRow, "source" | "sources">): string | null {
  const named = source === null ? sources : [source];
  const [provider = null, ...others] = new Set(named.map((family) => family.split("-")[0] ?? family));
  return others.length > 0 ? "mixed" : provider;
}

async function enqueue(
  deps: StartingDependencies,
  work: QueuedImport | QueuedUndo,
): Promise<EnqueueOutcome | null> {
  try {
    return await deps.queue.enqueue(work);
  } catch (error) {
    const { kind, importId } = work;
    deps.log.warn("work could not be started now", { work: kind, importId, error });
    return null;
  }
}
