/**
 * What the api, the worker and the workflows agree on: workflow types and ids, inputs, results, search attributes.
 * The only workflow file that other folders import. No imports of its own, so any process can load it.
 * Payloads carry ids and counts only: a history outlives an erased account.
 */

/** Workflow types, as registered by workflows/index.ts. */
export const WORKFLOW_TYPES = {
  importHistory: "importHistory",
  undoImport: "undoImport",
  eraseAccount: "eraseAccount",
  syncConnection: "syncConnection",
} as const;

/** `attempt` 1 is the first run of a job; each retry by the user is the next. */
export const importWorkflowId = (importId: string, attempt: number): string =>
  `import-${importId}-${attempt}`;

/** A job is undone once; an undo that was stopped from outside is started again under the same id. */
export const undoWorkflowId = (importId: string): string => `undo-${importId}`;

/** An account is erased once; an erase that was stopped from outside is started again under the same id. */
export const eraseWorkflowId = (userId: string): string => `erase-${userId}`;

/** Of the schedule of a connection. Each time that it fires, the id of its workflow is this with the time behind it. */
export const syncScheduleId = (connectionId: string): string => `sync-${connectionId}`;

/**
 * The task queue of what syncs do, beside that of everything else. Each provider has its own, so that one which does not
 * answer takes nobody else's turn; as `lane`, its name, or `DUE_LANE`.
 */
export const syncTaskQueue = (taskQueue: string, lane: string): string => `${taskQueue}-sync-${lane}`;

/** Of how syncs begin, when their schedules are due, and how they end: no import is waited for. */
export const DUE_LANE = "due";

/** One run of one job, as every activity of it is addressed. */
export interface ImportRun {
  readonly importId: string;
  readonly attempt: number;
}

export interface ImportHistoryInput extends ImportRun {
  /** How many parts may be imported at the same time. */
  readonly parallelParts: number;
  /** A worker that has been silent for longer is taken for dead and its activity started elsewhere. */
  readonly heartbeatTimeoutMs: number;
  /** False when the server refused the start for want of the search attributes: then none may be written. */
  readonly searchAttributes: boolean;
  /** Of a sync, which first asks its provider for what to import; absent of an upload. */
  readonly sync?: boolean;
  /** Of a sync: see `syncTaskQueue`. Absent of one that began before there were any: then the task queue of the workflow. */
  readonly syncLane?: string;
  /** Set by continue-as-new only. */
  readonly resume?: ImportResume;
}

/** Where the next run of a long import goes on. Scalars only: a payload must not grow with the archive. */
export interface ImportResume {
  /** Every part up to this number is settled. */
  readonly afterPart: number;
  readonly progress: ImportProgress;
}

export interface ImportProgress {
  readonly partsTotal: number;
  readonly partsDone: number;
  readonly rowsRead: number;
  readonly rowsInserted: number;
}

export interface PartRef extends ImportRun {
  readonly partNo: number;
}

/** A page of part numbers, ascending, that are not settled yet; more may follow after the last when it is full. */
export interface OpenPartsInput extends ImportRun {
  readonly afterPart: number;
  readonly limit: number;
}

export interface PreparedImport {
  /** The job was paused before anything was looked at: nothing is prepared yet. */
  readonly paused?: boolean;
  readonly partsTotal: number;
  readonly partsOpen: number;
  /** Whose data it is (`spotify`), `mixed` for several providers; for finding the run. */
  readonly provider: string;
}

/** `stopped`: the job was cancelled; `paused`: it was paused, and the part goes on later. What was committed stays. */
export interface PartResult {
  readonly status: "done" | "skipped" | "failed" | "stopped" | "paused";
  readonly read: number;
  readonly inserted: number;
}

export interface FailPartInput extends PartRef {
  readonly code: string;
  readonly message: string;
}

export type ImportOutcome =
  | { readonly outcome: "completed" }
  | { readonly outcome: "cancelled" }
  | { readonly outcome: "failed"; readonly code: string; readonly message: string };

export type FinishInput = ImportRun & ImportOutcome;

export interface LinkResult {
  /** Of the plays inserted, those that are another sighting of a play. */
  readonly linked: number;
}

export interface FinishedImport {
  readonly status: string;
}

/** False when the job is not paused any more: the run goes on at once. */
export interface ParkResult {
  readonly parked: boolean;
}

/** False when the job is paused still, or again: the run goes on waiting. */
export interface UnparkResult {
  readonly resumed: boolean;
}

export interface UndoInput {
  readonly importId: string;
  /** As in ImportHistoryInput. */
  readonly heartbeatTimeoutMs: number;
  readonly searchAttributes: boolean;
}

export interface UndoResult {
  /** Plays that only this import had brought. */
  readonly removed: number;
  /** Plays that another import claims too, and now owns. */
  readonly handedOver: number;
}

/** Of the workflow that a schedule starts. */
export interface SyncConnectionInput {
  /** Both opaque; the user for fair dispatch. */
  readonly connectionId: string;
  readonly userId: string;
  /** As in ImportHistoryInput. */
  readonly heartbeatTimeoutMs: number;
}

/** What became of a schedule's call: `refused` says why no sync was opened. Null `importId`: there is none. */
export interface OpenedSync {
  readonly outcome: "opened" | "under_way" | "refused";
  readonly importId: string | null;
  readonly refused: string | null;
}

/**
 * What one step of a sync came to. `more`: a page is in, and another to be asked for now. `waiting`: nothing may be asked
 * before `until` (ISO 8601). `upload`: the provider gave a file, which is now the job's upload and is imported as any
 * other. `done`: all is in. `stopped` and `paused`: as of a part.
 */
export type SyncStepResult =
  | { readonly status: "more"; readonly read: number; readonly inserted: number }
  | { readonly status: "waiting"; readonly until: string; readonly reason: "rate_limited" | "provider_down" }
  | { readonly status: "upload" }
  | { readonly status: "done"; readonly read: number; readonly inserted: number }
  | { readonly status: "stopped" | "paused" };

export interface EraseInput {
  /** Opaque. */
  readonly userId: string;
  /** As in ImportHistoryInput. */
  readonly heartbeatTimeoutMs: number;
  readonly searchAttributes: boolean;
}

export interface EraseProgress {
  /** Plays deleted. */
  readonly plays: number;
  /** Imports deleted, with their uploads. */
  readonly imports: number;
}

/** Not `finished` when something was added meanwhile: then it all begins again. */
export interface ErasedStep extends EraseProgress {
  readonly finished: boolean;
}

/** What the worker offers to the workflows. Each may run more than once and has its effect once. */
export interface ImportActivities {
  /** Looks into the upload and writes its parts. */
  prepare(run: ImportRun): Promise<PreparedImport>;
  openParts(input: OpenPartsInput): Promise<number[]>;
  importPart(input: PartRef): Promise<PartResult>;
  /** Settles a part that no attempt could finish. */
  failPart(input: FailPartInput): Promise<PartResult>;
  /** Links what is in with the plays of other sources. */
  linkPlays(run: ImportRun): Promise<LinkResult>;
  /** Closes the job. */
  finish(input: FinishInput): Promise<FinishedImport>;
  /** Says in the job's row that its run waits to be woken. */
  park(run: ImportRun): Promise<ParkResult>;
  /** Says that it waits no more. */
  unpark(run: ImportRun): Promise<UnparkResult>;
  /** Takes a closed job's plays out of the history, batch by batch, and closes it as undone. */
  undoImport(input: { readonly importId: string }): Promise<UndoResult>;
}

export interface EraseActivities {
  /** Cancels what the account has open; how many of its imports are not at their end yet. */
  stopImports(input: { readonly userId: string }): Promise<{ readonly underWay: number }>;
  /** Deletes all that belongs to the account, batch by batch, the account itself last. */
  eraseAccount(input: { readonly userId: string }): Promise<ErasedStep>;
}

export interface SyncActivities {
  /** Asks a job's provider for the next page, or for the next stage of a file, and commits it. */
  syncStep(run: ImportRun): Promise<SyncStepResult>;
  /** Opens a sync because its schedule is due. */
  openSync(input: { readonly connectionId: string }): Promise<OpenedSync>;
}

export type WorkerActivities = ImportActivities & EraseActivities & SyncActivities;

/** Query `state`, for people who debug a run; the api never asks it. */
export const STATE_QUERY = "state";

/** Signal with one boolean: pause, or go on. Only wakes the run; whether the job is paused, its row says. */
export const PAUSE_SIGNAL = "setPaused";

export interface ImportState extends ImportProgress {
  readonly phase: ImportPhase;
  readonly afterPart: number;
  readonly inFlight: readonly number[];
}

/** Search attributes the worker registers at start-up; all keywords, none personal (the user id is opaque). */
export const SEARCH_ATTRIBUTES = {
  user: "PlaylogUserId",
  provider: "PlaylogProvider",
  kind: "PlaylogJobKind",
  phase: "PlaylogPhase",
  connection: "PlaylogConnectionId",
} as const;

export type ImportPhase =
  "queued" | "detecting" | "importing" | "waiting" | "paused" | "finishing" | "undoing" | "erasing" | "done";

/**
 * `type` of the failures that Temporal must not retry: running again cannot help. Each is also the error code
 * the job shows, except `job_closed`: that run has nothing to do any more.
 */
export const NON_RETRYABLE_FAILURES = [
  "not_a_zip",
  "unsafe_archive",
  "archive_limit",
  "entry_corrupt",
  "entry_unsupported",
  "encrypted",
  "unrecognised_format",
  "file_truncated",
  "csv_unclosed_quote",
  "header",
  "encoding",
  "no_known_files",
  "empty_file",
  "storage_lost",
  "owner_gone",
  "parser_changed",
  "ledger_mismatch",
  "provider",
  "job_closed",
] as const;
