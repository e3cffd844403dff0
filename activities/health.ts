import type { Worker } from "@temporalio/worker";
import type { ImportQueue } from "../services/import/ImportQueue.js";
import type { BacklogReader } from "./backlog.js";

export interface WorkerHealth {
  /** It takes work, and can do it. */
  readonly ok: boolean;
  /** `starting` until Temporal has answered for the first time; then the state the SDK gives (`RUNNING`, ...). */
  readonly worker: string;
  /** Whether it asks for workflow tasks and for activities. */
  readonly polling: boolean;
  readonly temporal: boolean;
  readonly database: boolean;
}

/** @param worker gives the worker once there is one */
export async function workerHealth(
  worker: () => Worker | undefined,
  queue: ImportQueue,
  backlog: BacklogReader,
): Promise<WorkerHealth> {
  const [temporal, found] = await Promise.all([queue.health(), backlog.read()]);
  const status = worker()?.getStatus();
  const polling = status?.workflowPollerState === "POLLING" && status.activityPollerState === "POLLING";
  const database = found !== null;
  return {
    ok: status?.runState === "RUNNING" && polling && temporal.ok && database,
    worker: status?.runState ?? "starting",
    polling,
    temporal: temporal.ok,
    database,
  };
}
