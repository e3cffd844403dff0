/** When a step that failed is tried again, whatever runs it. */
import { sqlState } from "../db/errors.js";
import { ImportError } from "../services/import/verdicts.js";
import { isPassing } from "../services/import/waiting.js";
import { NON_RETRYABLE_FAILURES } from "../workflows/contracts.js";

/** From this try on a failure is no passing trouble any more, and somebody should look. */
export const ALARMING_ATTEMPT = 5;

/** The pauses after a failure whose cause nobody knows: 1 s, 2 s, 4 s and so on, up to two minutes. */
const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 120_000;

/** How often the step was tried, this time included, and the pause after an outage in milliseconds. */
export interface Tries {
  readonly tries: number;
  readonly outageRetryMs: number;
}

/** What is sure to pass is tried again every `outageRetryMs`, however long it takes; the rest at growing intervals. */
export const pauseAfter = (error: unknown, { tries, outageRetryMs }: Tries): number =>
  isPassing(error) ? outageRetryMs : Math.min(FIRST_RETRY_MS * 2 ** (tries - 1), LONGEST_RETRY_MS);

/** True when running again cannot help. */
export const isFinal = (error: unknown): error is ImportError =>
  error instanceof ImportError && NON_RETRYABLE_FAILURES.some((type) => type === error.code);

/**
 * Type and message as they may be kept outside the database. Its own messages can quote rows, and what is kept outlives an
 * account, so they are replaced.
 */
export function describeFailure(error: unknown): { readonly message: string; readonly type: string } {
  if (error instanceof ImportError) return { message: error.message, type: error.code };
  const state = sqlState(error);
  if (state !== null) return { message: `The database reported ${state}`, type: "database" };
  if (error instanceof Error) return { message: error.message, type: error.name };
  return { message: String(error), type: "unknown" };
}
