/** What both sides of the queue on BullMQ agree on: data of jobs, how they end, and keys beside BullMQ's own. */
import type { QueuedWork, SyncSchedule } from "../../ImportQueue.js";

/** Of every key, so that the queue can share a Redis with the cache. */
export const KEY_PREFIX = "playlog-queue";

/** Data of a job that somebody enqueued. */
export interface EnqueuedJob {
  readonly work: QueuedWork;
  /** Of the call that made the job, which so can tell that it was this one. */
  readonly claim: string;
  /** Which request asked for it. */
  readonly requestId?: string;
}

/** Data of a job that a schedule made. */
export interface DueSync {
  readonly work: { readonly kind: "due"; readonly connectionId: string };
}

export type JobData = EnqueuedJob | DueSync;

/** BullMQ knows two ends; a run that was cancelled has completed as well, and says so. */
export interface JobEnd {
  readonly outcome: "completed" | "cancelled";
}

/** `failedReason` of a run that was stopped from outside. */
export const TERMINATED = "terminated";

/** What a run is asked to do: to end in order, to stop where it is, or that and to leave nothing behind. */
export type Ask = "cancel" | "terminate" | "forget";

/** A schedule as it is kept beside BullMQ's own, which has no pause. */
export type KeptSchedule = Pick<SyncSchedule, "everyMinutes" | "paused">;

/** Keys of ours; none can be that of a job, whose ids begin otherwise. */
export const keysOf = (queue: string) => {
  const key = (name: string): string => `${KEY_PREFIX}:${queue}:${name}`;
  return {
    /** An `Ask`, until the job is gone for long. */
    ask: (jobId: string): string => key(`ask:${jobId}`),
    /** How often the job was told to look at its row again. */
    wakes: (jobId: string): string => key(`wakes:${jobId}`),
    /** A hash: connection id to `KeptSchedule` as JSON. */
    schedules: key("schedules"),
  };
};

/** How long a job is remembered after its end, and what was asked of it. */
export const KEPT_SECONDS = 30 * 24 * 60 * 60;
