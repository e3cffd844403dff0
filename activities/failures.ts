/** How errors of the steps look to Temporal: what must not be retried, and under which name. */
import { CancelledFailure } from "@temporalio/activity";
import { ApplicationFailure, ApplicationFailureCategory } from "@temporalio/common";
import { sqlState } from "../db/errors.js";
import { JobClosedError } from "../services/import/jobs.js";
import { ImportError } from "../services/import/verdicts.js";
import { isPassing } from "../services/import/waiting.js";
import { NON_RETRYABLE_FAILURES } from "../workflows/contracts.js";

/** How often the step was tried, this time included, and the pause after an outage in milliseconds. */
export interface Tries {
  readonly tries: number;
  readonly outageRetryMs: number;
}

/** From this attempt on a failure is no passing trouble any more, and somebody should look. */
export const ALARMING_ATTEMPT = 5;

/** The pauses after a failure whose cause nobody knows: 1 s, 2 s, 4 s and so on, up to two minutes. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 120_000;

/**
 * The failure to throw from an activity. Errors of a kind that running again may cure stay retryable; their
 * messages are replaced when they come from the database, for those can quote rows, and a history outlives an account.
 * What is sure to pass is tried again every `outageRetryMs`, however long it takes; the rest at growing intervals. Both
 * are said here and not in the policy of the step, because that one also counts for a step that lost its worker: the
 * next one shall have it at once.
 */
export function toFailure(error: unknown, signal: AbortSignal, { tries, outageRetryMs }: Tries): Error {
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
  if (error instanceof ImportError) {
    if (NON_RETRYABLE_FAILURES.some((type) => type === error.code))
      return nonRetryable(error.code, error.message);
  }
  return ApplicationFailure.create({
    ...describe(error),
    nextRetryDelay: isPassing(error) ? outageRetryMs : growingDelayMs(tries),
  });
}

const growingDelayMs = (tries: number): number =>
  Math.min(FIRST_RETRY_MS * 2 ** (tries - 1), LONGEST_RETRY_MS);

function describe(error: unknown): { message: string; type: string } {
  if (error instanceof ImportError) return { message: error.message, type: error.code };
  const state = sqlState(error);
  if (state !== null) return { message: `The database reported ${state}`, type: "database" };
  if (error instanceof Error) return { message: error.message, type: error.name };
  return { message: String(error), type: "unknown" };
}

const isShutdown = (reason: unknown): boolean =>
  reason instanceof CancelledFailure && reason.message === "WORKER_SHUTDOWN";

const nonRetryable = (type: string, message: string): ApplicationFailure =>
  ApplicationFailure.nonRetryable(message, type);
