/**
 * The port behind which durable work runs: Temporal today, anything that passes test/services/import/queueContract.ts
 * tomorrow. Only ids travel through it. Progress, counts and rows are in Postgres, never here.
 */

/** A piece of durable work, named by the row that describes it. Enqueuing the same twice is one. */
export type QueuedWork = QueuedImport | QueuedUndo | QueuedErase;

export interface QueuedImport {
  readonly kind: "import";
  readonly importId: string;
  readonly attempt: number;
  /** Opaque; for fair dispatch and for finding a user's work. */
  readonly userId: string;
  /** Provider the client named, or null while content is still to tell. */
  readonly provider: string | null;
  readonly jobKind: "file" | "sync";
  /** Whose sync it is; opaque, for finding the work of a connection. */
  readonly connectionId?: string | null;
}

/**
 * Takes back what a closed import brought. Whatever its end was, it may be enqueued again: only the row says whether
 * something is left to undo, and a run that finds nothing ends at once.
 */
export interface QueuedUndo {
  readonly kind: "undo";
  readonly importId: string;
  readonly userId: string;
  readonly provider: string | null;
}

/** Deletes all that belongs to an account which is switched off. May be enqueued again, as an undo. */
export interface QueuedErase {
  readonly kind: "erase";
  readonly userId: string;
}

export type EnqueueOutcome = "started" | "exists";

/**
 * Coarse state of the work behind a job, for reconciling and for diagnosis.
 * `missing`: the queue does not know it. `terminated`: somebody stopped it from outside, its clean-up did not run.
 */
export type QueueState =
  "missing" | "open" | "completed" | "failed" | "cancelled" | "terminated" | "timed_out";

/** Which run of a job is meant. */
export interface JobRef {
  readonly importId: string;
  readonly attempt: number;
}

/** Which piece of work is meant. */
export type WorkRef =
  | ({ readonly kind: "import" } & JobRef)
  | { readonly kind: "undo"; readonly importId: string }
  | { readonly kind: "erase"; readonly userId: string };

/** The periodic sync of one connection. `everyMinutes` from 1; while `paused` it does not fire. */
export interface SyncSchedule {
  readonly connectionId: string;
  /** Opaque. */
  readonly userId: string;
  readonly provider: string;
  readonly everyMinutes: number;
  readonly paused: boolean;
}

export interface ScheduleState {
  readonly everyMinutes: number;
  readonly paused: boolean;
  /** Null while it is paused. */
  readonly nextAt: Date | null;
}

export interface QueueHealth {
  readonly ok: boolean;
  readonly latencyMs: number | null;
  readonly detail: string | null;
}

/**
 * Every method answers within about 2 s or throws `QueueUnavailableError` (outcome unknown: reconcile later)
 * or `QueueRejectedError` (the queue understood and refused).
 */
export interface ImportQueue {
  /** An import once per job and attempt, for ever; an undo, or an erase, once at a time. `exists` when it was, or is, there already. */
  enqueue(work: QueuedWork): Promise<EnqueueOutcome>;
  /** Asks; the work notices at its next batch border. `missing` when there is nothing to cancel. */
  requestCancel(ref: JobRef): Promise<"requested" | "missing">;
  /** Wakes a run that waits because its job was paused, or tells one to start nothing new. The row is what counts. */
  setPaused(ref: JobRef, paused: boolean): Promise<"requested" | "missing">;
  inspect(ref: WorkRef): Promise<QueueState>;
  /** Ends this work if it is open, and deletes what the queue remembers of it, though not at once. */
  forget(ref: WorkRef): Promise<void>;
  /**
   * Makes, or changes, the schedule of a connection. Each time it is due the worker opens a sync of that connection,
   * unless one is under way. Times missed while nothing ran are not made up for, beyond the last.
   */
  upsertSchedule(schedule: SyncSchedule): Promise<void>;
  /** Nothing happens when there is none. */
  removeSchedule(connectionId: string): Promise<void>;
  /** Null when there is none. */
  inspectSchedule(connectionId: string): Promise<ScheduleState | null>;
  /** Connections that have a schedule; what was made or removed in the last seconds may be missing, or there still. */
  listSchedules(): Promise<readonly string[]>;
  health(): Promise<QueueHealth>;
  close(): Promise<void>;
}

export class QueueUnavailableError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "QueueUnavailableError";
  }
}

export class QueueRejectedError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "QueueRejectedError";
  }
}
