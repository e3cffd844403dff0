/** What an import waits for that is not its own doing, and how its owner gets to see that. */
import { setTimeout as sleep } from "node:timers/promises";
import { databaseOutage } from "../../db/errors.js";
import { UnavailableError } from "../../utils/errors.js";
import type { StepsDependencies } from "./stepContext.js";

/** Of the values of import_jobs.waiting_reason those that a failed step may set. */
export type OutageReason = "storage_full" | "database";

const FULL_CODES: ReadonlySet<unknown> = new Set(["storage_full", "ENOSPC", "EDQUOT"]);
/** Noting is a courtesy; the step that failed must be tried again in time whatever the database does. */
const NOTE_TIMEOUT_MS = 2000;

/**
 * Which dependency is out when a step fails with `error`, so that the same step will succeed once that is back. null:
 * another kind of error.
 */
export function outageOf(error: unknown): OutageReason | null {
  for (let link = error, depth = 0; link instanceof Error && depth < 5; link = link.cause, depth += 1)
    if ("code" in link && FULL_CODES.has(link.code)) return "storage_full";
  return databaseOutage(error);
}

/** True for `outageOf`, and for a disk that cannot be read at the moment: a flat, short pause however often it is tried. */
export function isPassing(error: unknown): boolean {
  if (outageOf(error) !== null) return true;
  return error instanceof UnavailableError && error.code === "storage_unavailable";
}

/**
 * Shows in the job's row what its run waits for, until a batch is committed, a part begun, or the job closed. What its
 * owner asked for is shown first; work that is no attempt of an import (an undo) shows nothing. Never throws; gives up
 * after 2 s, for it is often the database that is out.
 */
export async function noteWaiting(
  { pool, observer }: Pick<StepsDependencies, "pool" | "observer">,
  importId: string,
  attempt: number | null,
  reason: OutageReason,
): Promise<void> {
  observer.waiting({ reason });
  const noted = pool.query(
    `update import_jobs set waiting_reason = $3, waiting_until = null, version = version + 1
      where id = $1 and attempt = $2 and status in ('queued', 'running', 'cancelling')
        and waiting_reason is distinct from $3`,
    [importId, attempt, reason],
  );
  await Promise.race([noted.catch(() => undefined), sleep(NOTE_TIMEOUT_MS, undefined, { ref: false })]);
}
