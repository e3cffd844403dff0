/** The Temporal side of the worker process: connection, bundle, worker. */
import { existsSync } from "node:fs";
import { hostname } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NativeConnection, Worker } from "@temporalio/worker";
import type { WorkerOptions } from "@temporalio/worker";
import type { Logger } from "../utils/logger.js";
import type { EraseActivities, ImportActivities, SyncActivities } from "../workflows/contracts.js";
import { ACTIVITY_SLOTS } from "./slots.js";

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

export const workerIdentity = (): string => `playlog-worker@${hostname()}`;

export async function createImportWorker(options: ImportWorkerOptions): Promise<Worker> {
  return Worker.create({
    connection: options.connection,
    namespace: options.namespace,
    taskQueue: options.taskQueue,
    activities: { ...options.activities },
    ...workflowsFrom(options.workflowBundle),
    identity: workerIdentity(),
    maxConcurrentActivityTaskExecutions: ACTIVITY_SLOTS,
    maxCachedWorkflows: 200,
    // Cancellation travels in the answer to a heartbeat, so this is how late it may be noticed.
    maxHeartbeatThrottleInterval: Math.min(5000, Math.ceil(options.heartbeatTimeoutMs / 4)),
    // Told at once: an import is stopped at its next batch border and goes on in the next process.
    shutdownGraceTime: 0,
    shutdownForceTime: options.stopMs,
  });
}

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
