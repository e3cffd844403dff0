/** Where a paused import waits: its run says so in the row, for a wake-up that is lost can only be missed there. */
import type { PoolClient } from "pg";
import { JobClosedError, lockJob } from "./jobs.js";
import type { JobRow, RunRef } from "./jobs.js";
import type { StepsDependencies } from "./stepContext.js";
import { ImportError } from "./verdicts.js";
import { inTransaction } from "../../db/transaction.js";

/**
 * Marks the job as waiting to be woken; `parked` is false when it is not paused any more, and nothing is to wait for. Whoever
 * resumes it afterwards finds the mark, or this call finds the job resumed. Throws `JobClosedError`.
 */
export async function park(deps: StepsDependencies, ref: RunRef): Promise<{ readonly parked: boolean }> {
  return inTransaction(deps.pool, async (client) => {
    const parked = (await openJob(client, ref)).status === "paused";
    await mark(client, ref, parked);
    return { parked };
  });
}

/** Takes the mark away, unless the job is paused still or again. Throws `JobClosedError`. */
export async function unpark(deps: StepsDependencies, ref: RunRef): Promise<{ readonly resumed: boolean }> {
  return { resumed: !(await park(deps, ref)).parked };
}

async function openJob(client: PoolClient, ref: RunRef): Promise<JobRow> {
  const job = await lockJob(client, ref.importId);
  if (job === undefined) throw new ImportError("owner_gone");
  const { status, attempt } = job;
  // One that is being cancelled has nothing to wait for; it goes on, and ends at its next step.
  if (attempt !== ref.attempt || !["queued", "running", "paused", "cancelling"].includes(status))
    throw new JobClosedError(ref);
  return job;
}

async function mark(client: PoolClient, ref: RunRef, parked: boolean): Promise<void> {
  await client.query(
    "update import_jobs set parked_at = case when $2 then coalesce(parked_at, now()) end where id = $1",
    [ref.importId, parked],
  );
}
