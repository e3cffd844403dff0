/** The Temporal side of the worker process: connection, bundle, worker. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NativeConnection, Worker } from "@temporalio/worker";
import type { WorkerOptions } from "@temporalio/worker";
import { CONNECTION_PROVIDERS } from "../db/models/enums.js";
import type { Logger } from "../utils/logger.js";
import { DUE_LANE, syncTaskQueue } from "../workflows/contracts.js";
import type { EraseActivities, ImportActivities, SyncActivities } from "../workflows/contracts.js";
import { ACTIVITY_SLOTS, DUE_SLOTS, SYNC_SLOTS } from "./slots.js";

export interface ImportWorkerOptions {
  readonly connection: NativeConnection;
  readonly namespace: string;
  readonly taskQueue: string;
  readonly activities: ImportActivities & EraseActivities & Partial<SyncActivities>;
  readonly heartbeatTimeoutMs: number;
  /** Time for activities to reach their next batch border once the process was asked to stop. */
  readonly stopMs: number;
  /** Prebuilt workflows; absent: `dist/workflow-bundle.js`, else they are bundled now. */
  readonly workflowBundle?: string | undefined;
}

/** What the SDK takes by itself. */
const STICKY_MS = 10_000;

export const workerIdentity = (): string => `playlog-worker@${hostname()}`;

export async function createImportWorker(options: ImportWorkerOptions): Promise<Worker> {
  return Worker.create({
    ...sharedBy(options),
    taskQueue: options.taskQueue,
    activities: { ...options.activities },
    ...workflowsFrom(options.workflowBundle),
    maxConcurrentActivityTaskExecutions: ACTIVITY_SLOTS,
    maxCachedWorkflows: 200,
    // So long a workflow waits for the worker that knows it, which may have died, before any other gets it.
    stickyQueueScheduleToStartTimeout: Math.min(STICKY_MS, options.heartbeatTimeoutMs),
  });
}

export type SyncWorkersOptions = Omit<ImportWorkerOptions, "activities" | "workflowBundle"> & {
  readonly activities: SyncActivities & SyncEndings;
};

/** Of an import's activities those that end a sync. */
type SyncEndings = Pick<ImportActivities, "linkPlays" | "finish">;

/** One for each lane, with slots of its own: see `syncTaskQueue`. In Temporal whatever waits there waits, and takes up nothing. */
export async function createSyncWorkers(options: SyncWorkersOptions): Promise<Worker[]> {
  const syncStep: SyncActivities["syncStep"] = (run) => options.activities.syncStep(run);
  const openSync: SyncActivities["openSync"] = (due) => options.activities.openSync(due);
  const linkPlays: SyncEndings["linkPlays"] = (run) => options.activities.linkPlays(run);
  const finish: SyncEndings["finish"] = (ended) => options.activities.finish(ended);
  const lanes = [
    ...CONNECTION_PROVIDERS.map((lane) => ({ lane, activities: { syncStep }, slots: SYNC_SLOTS })),
    { lane: DUE_LANE, activities: { openSync, linkPlays, finish }, slots: DUE_SLOTS },
  ];
  return Promise.all(
    lanes.map(({ lane, activities, slots }) =>
      Worker.create({
        ...sharedBy(options),
        taskQueue: syncTaskQueue(options.taskQueue, lane),
        activities,
        maxConcurrentActivityTaskExecutions: slots,
      }),
    ),
  );
}

const sharedBy = ({
  connection,
  namespace,
  heartbeatTimeoutMs,
  stopMs,
}: Omit<ImportWorkerOptions, "activities">) => ({
  connection,
  namespace,
  identity: workerIdentity(),
  // Cancellation travels in the answer to a heartbeat, so this is how late it may be noticed.
  maxHeartbeatThrottleInterval: Math.min(5000, Math.ceil(heartbeatTimeoutMs / 4)),
  // Told at once: an import is stopped at its next batch border and goes on in the next process.
  shutdownGraceTime: 0,
  shutdownForceTime: stopMs,
});

function workflowsFrom(given: string | undefined): Pick<WorkerOptions, "workflowBundle" | "workflowsPath"> {
  if (given !== undefined && given !== "") return { workflowBundle: { codePath: given } };
  const built = path.resolve(import.meta.dirname, "../workflow-bundle.js");
  if (existsSync(built)) return { workflowBundle: { codePath: built } };
  const extension = path.extname(import.meta.filename);
  return { workflowsPath: path.resolve(import.meta.dirname, `../workflows/index${extension}`) };
}

/**
 * Connects, trying again for `patienceMs`: a native connection itself gives up at once. Throws the last error
 * when the time is over, the signal's reason when it aborts.
 */
export async function connectWithPatience(
  address: string,
  patienceMs: number,
  signal: AbortSignal,
  log: Logger,
): Promise<NativeConnection> {
  const deadline = Date.now() + patienceMs;
  for (let waitMs = 200; ; waitMs = Math.min(waitMs * 2, 5000)) {
    signal.throwIfAborted();
    try {
      return await NativeConnection.connect({ address });
    } catch (error) {
      if (Date.now() + waitMs > deadline) throw error;
      log.warn("Temporal does not answer yet", { error });
      await sleep(waitMs, undefined, { signal });
    }
  }
}
