/** How errors of the steps look to Temporal: what must not be retried, and under which name. */
import { CancelledFailure } from "@temporalio/activity";
import { ApplicationFailure, ApplicationFailureCategory } from "@temporalio/common";
import { JobClosedError } from "../services/import/jobs.js";
import { describeFailure, isFinal, pauseAfter } from "./retrying.js";
import type { Tries } from "./retrying.js";

/**
 * The failure to throw from an activity. Errors of a kind that running again may cure stay retryable; their
 * messages are replaced when they come from the database, for those can quote rows, and a history outlives an account.
 * What is sure to pass is tried again every `outageRetryMs`, however long it takes; the rest at growing intervals. Both
 * are said here and not in the policy of the step, because that one also counts for a step that lost its worker: the
 * next one shall have it at once.
 */
export function toFailure(error: unknown, signal: AbortSignal, tries: Tries): Error {
  if (signal.aborted && isShutdown(signal.reason)) {
    // Not cancelled at all: another worker, or this one after its restart, goes on from the last batch.
    return ApplicationFailure.create({
      message: "The worker is shutting down",
      type: "worker_shutdown",
      category: ApplicationFailureCategory.BENIGN,
      nextRetryDelay: 500,
    });
  }
  if (error instanceof CancelledFailure) return error;
  if (signal.aborted) {
    return signal.reason instanceof CancelledFailure ? signal.reason : new CancelledFailure("stopped");
  }
  if (error instanceof JobClosedError) return nonRetryable("job_closed", error.message);
  if (isFinal(error)) return nonRetryable(error.code, error.message);
  return ApplicationFailure.create({
    ...describeFailure(error),
    nextRetryDelay: pauseAfter(error, tries),
  });
}

const isShutdown = (reason: unknown): boolean =>
  reason instanceof CancelledFailure && reason.message === "WORKER_SHUTDOWN";

const nonRetryable = (type: string, message: string): ApplicationFailure =>
  ApplicationFailure.nonRetryable(message, type);
