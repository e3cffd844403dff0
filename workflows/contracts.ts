/**
 * What the api, the worker and the workflows agree on: task queue, workflow ids, inputs, search attributes.
 * The only workflow file that other folders import. No imports of its own, so any process can load it.
 * Payloads carry ids and counts only: a history outlives an erased account.
 */

/** Workflow types, as registered by workflows/index.ts. */
export const WORKFLOW_TYPES = { importHistory: "importHistory" } as const;

/** `attempt` 1 is the first run of a job; each retry by the user is the next. */
export const importWorkflowId = (importId: string, attempt: number): string =>
  `import-${importId}-${attempt}`;

export interface ImportHistoryInput {
  readonly importId: string;
  readonly attempt: number;
  /** How many parts may be imported at the same time. */
  readonly parallelParts: number;
  /** A worker that has been silent for longer is taken for dead and its activity started elsewhere. */
  readonly heartbeatTimeoutMs: number;
  /** Set by continue-as-new only. */
  readonly resume?: { readonly nextPart: number; readonly parts: readonly number[] | number };
}

/** Search attributes the worker registers at start-up; all keywords, none personal (the user id is opaque). */
export const SEARCH_ATTRIBUTES = {
  user: "PlaylogUserId",
  provider: "PlaylogProvider",
  kind: "PlaylogJobKind",
  phase: "PlaylogPhase",
} as const;

export type ImportPhase = "queued" | "detecting" | "importing" | "finishing" | "done";

/**
 * `type` of the failures that Temporal must not retry: running again cannot help. The name is also the
 * error code the job shows, except where a table in activities/failures.ts says otherwise.
 */
export const NON_RETRYABLE_FAILURES = [
  "not_a_zip",
  "unsafe_archive",
  "archive_limit",
  "encrypted",
  "unrecognised_format",
  "no_known_files",
  "empty_file",
  "storage_lost",
  "owner_gone",
  "parser_changed",
  "job_closed",
] as const;
