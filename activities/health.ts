import type { ImportQueue } from "../services/import/ImportQueue.js";
import type { BacklogReader } from "./backlog.js";
import type { EngineState } from "./engine.js";

export interface WorkerHealth extends EngineState {
  /** It takes work, and can do it. */
  readonly ok: boolean;
  /** Whether what hands out the work answers; under the name of the one that is used. */
  readonly temporal?: boolean;
  readonly bullmq?: boolean;
  readonly database: boolean;
}

/** @param state of whatever runs the steps */
export async function workerHealth(
  kind: "temporal" | "bullmq",
  state: () => EngineState,
  queue: ImportQueue,
  backlog: BacklogReader,
): Promise<WorkerHealth> {
  const [{ ok: answers }, found] = await Promise.all([queue.health(), backlog.read()]);
  const { worker, polling } = state();
  const database = found !== null;
  return {
    ok: worker === "RUNNING" && polling && answers && database,
    worker,
    polling,
    [kind]: answers,
    database,
  };
}
