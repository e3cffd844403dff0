/** A batch: consecutive records of one part, judged, before and after the catalogue has placed its plays. */
import type { Play } from "../types.js";
import type { RejectReason, SkipReason } from "../verdicts.js";

export interface BatchRef {
  readonly jobId: string;
  readonly userId: string;
  readonly attempt: number;
  readonly partNo: number;
  /** Place among the batches of the part. Where one that is in begins and ends, its marker says for good. */
  readonly batchNo: number;
  /** Index in the part of the first record. */
  readonly firstPosition: number;
}

export interface SkippedRecord {
  readonly position: number;
  readonly reason: SkipReason;
  readonly message: string;
  /** Text, not a way to make it: a batch must not hold its records, each of which may have 64 KiB. */
  readonly excerpt: string | null;
}

export interface RejectedRecord {
  readonly position: number;
  readonly reason: RejectReason;
  readonly message: string;
  readonly excerpt: string | null;
}

export interface PlayRecord {
  readonly position: number;
  readonly play: Play;
}

/** Every record read is in exactly one of the three lists; each list is in order of position. */
export interface JudgedBatch extends BatchRef {
  readonly plays: readonly PlayRecord[];
  readonly skipped: readonly SkippedRecord[];
  readonly rejected: readonly RejectedRecord[];
  /** Unpacked bytes of the part read by the end of this batch, for progress. */
  readonly bytesRead: number;
}

export interface Counts {
  readonly read: number;
  readonly inserted: number;
  readonly duplicate: number;
  readonly skipped: number;
  readonly rejected: number;
}

/** How often each reason occurred; reasons that did not are left out. */
export interface ReasonCounts {
  readonly duplicate: Readonly<Record<string, number>>;
  readonly skipped: Readonly<Record<string, number>>;
  readonly rejected: Readonly<Record<string, number>>;
}

/**
 * `already`: the batch has its marker, this call added nothing. `stopped`: the job was asked to stop or to
 * pause, or is not this attempt's any more (`closed`), or its owner is gone; nothing was written.
 */
export type BatchOutcome =
  | { readonly outcome: "committed"; readonly counts: Counts; readonly reasons: ReasonCounts }
  | { readonly outcome: "already" }
  | { readonly outcome: "stopped"; readonly why: "cancelling" | "paused" | "closed" | "owner_gone" };

export const readOf = (batch: JudgedBatch): number =>
  batch.plays.length + batch.skipped.length + batch.rejected.length;
