/** What a failed activity means to the workflow. */
import { ActivityFailure, ApplicationFailure, TimeoutFailure } from "@temporalio/common";
import { NON_RETRYABLE_FAILURES } from "./contracts.js";

/** An activity's error arrives wrapped: the reason is its cause, never the error itself. */
function causeOf(err: unknown): unknown {
  return err instanceof ActivityFailure ? err.cause : err;
}

function typeOf(err: unknown): string | undefined {
  const cause = causeOf(err);
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined;
}

/** True when no later run of any part of this job could succeed. */
export function isFinalForJob(err: unknown): boolean {
  return NON_RETRYABLE_FAILURES.some((type) => type === typeOf(err));
}

/** True when the job is not this run's any more. */
export function isClosed(err: unknown): boolean {
  return typeOf(err) === "job_closed";
}

/** Code and sentence for the job or the part. What only ran out of time or attempts counts as out of resources. */
export function failureOf(err: unknown): { code: string; message: string } {
  const type = typeOf(err);
  const cause = causeOf(err);
  const message = cause instanceof Error ? cause.message : String(cause);
  if (type !== undefined && isFinalForJob(err)) return { code: type, message };
  const why = cause instanceof TimeoutFailure ? "No attempt ended within the time allowed" : "Gave up";
  return { code: "resource_limit", message: `${why}: ${message}` };
}
