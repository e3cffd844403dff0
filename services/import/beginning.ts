/** How a job leaves the queue: its run takes it, or finds it paused, or not its own any more. */
import { START_GRACE_SECONDS } from "./control.js";
import { assertOpen, findJob, JobClosedError } from "./jobs.js";
import type { JobRow, RunRef } from "./jobs.js";
import type { StepsDependencies } from "./stepContext.js";
import { PARSER_VERSION } from "./types.js";

/**
 * Takes the job from `queued` to `running`, or finds it running. `paused`: nothing may be done now. Throws
 * `ImportError` (`owner_gone`, `parser_changed`), `JobClosedError`.
 */
export async function begin(
  deps: Pick<StepsDependencies, "pool" | "observer">,
  ref: RunRef,
): Promise<JobRow | "paused"> {
  let job: JobRow | undefined;
  do {
    await take(deps, ref);
    job = await findJob(deps.pool, ref.importId);
    if (job?.attempt === ref.attempt && job.status === "paused") return "paused";
    // Resumed between the two statements: nothing keeps it from being taken now.
  } while (job?.attempt === ref.attempt && job.status === "queued");
  assertOpen(job, ref);
  if (job.status === "cancelling") throw new JobClosedError(ref);
  if (job.parked_at !== null) {
    // Of a run that the queue has lost: this one waits for nobody.
    await deps.pool.query(
      "update import_jobs set parked_at = null where id = $1 and attempt = $2 and status <> 'paused'",
      [ref.importId, ref.attempt],
    );
  }
  return job;
}

async function take(deps: Pick<StepsDependencies, "pool" | "observer">, ref: RunRef): Promise<void> {
  const taken = await deps.pool.query<{ kind: JobRow["kind"]; wait: number | null }>(TAKE, [
    ref.importId,
    ref.attempt,
    PARSER_VERSION,
    START_GRACE_SECONDS,
  ]);
  const started = taken.rows[0];
  if (started !== undefined)
    deps.observer.jobStarted({ kind: started.kind, waitSeconds: Math.max(0, started.wait ?? 0) });
}

/** When a retry was asked for is kept nowhere; each try to start it has moved `next_start_at` on by the grace at least. */
const TAKE = `
  update import_jobs j
     set status = 'running', started_at = coalesce(started_at, now()), next_start_at = null,
         parser_version = coalesce(parser_version, $3), version = version + 1
    from (select id, next_start_at from import_jobs where id = $1 for no key update) before
   where j.id = before.id and j.attempt = $2 and j.status = 'queued'
  returning j.kind, extract(epoch from now() - case when j.attempt = 1 then j.created_at
    else before.next_start_at - make_interval(secs => j.start_attempts * $4) end)::float8 as wait`;
