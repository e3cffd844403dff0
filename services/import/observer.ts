/** What an import tells whoever counts: metrics in the worker, nothing in most tests. Called after the fact, never awaited. */
import type { ImportStatus, PartStatus } from "./jobs.js";
import type { Counts, ReasonCounts } from "./writing/batch.js";

export interface ImportObserver {
  /** A job left the queue; `waitSeconds` since it was accepted, or asked to run again. */
  jobStarted(event: { readonly kind: "file" | "sync"; readonly waitSeconds: number }): void;
  jobClosed(event: {
    readonly kind: "file" | "sync";
    readonly status: ImportStatus;
    /** Error code of a job that failed. */
    readonly code: string | null;
    /** Since it left the queue; null when it never did. */
    readonly seconds: number | null;
    /** Of a sync. */
    readonly provider?: string;
  }): void;
  partSettled(event: {
    readonly format: string | null;
    readonly status: PartStatus;
    readonly code: string | null;
  }): void;
  /** `seconds` from the finished reading of the batch to its commit. */
  batchCommitted(event: {
    readonly format: string;
    readonly dryRun: boolean;
    readonly counts: Counts;
    readonly reasons: ReasonCounts;
    readonly seconds: number;
  }): void;
  /** A step waits for something outside (`storage_full`, `database`, ...) and will be tried again. */
  waiting(event: { readonly reason: string }): void;
  /** A worker vanished over a part. */
  attemptLost(event: { readonly format: string | null }): void;
}

/** Nobody counts. */
export const NO_OBSERVER: ImportObserver = {
  jobStarted: () => {},
  jobClosed: () => {},
  partSettled: () => {},
  batchCommitted: () => {},
  waiting: () => {},
  attemptLost: () => {},
};
