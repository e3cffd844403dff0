/** Temporal as what runs the steps: its runtime, connection, search attributes and worker. */
import type { Worker } from "@temporalio/worker";
import type { Engine, EngineOptions } from "./engine.js";
import { createEraseActivities } from "./erase.js";
import { createImportActivities } from "./import.js";
import { connectWithPatience, createImportWorker } from "./importWorker.js";
import { observeActivities } from "./observeActivities.js";
import { registerSearchAttributes } from "./searchAttributes.js";
import { createSyncActivities } from "./sync.js";
import { installTemporalRuntime } from "./temporalRuntime.js";

const CONNECT_PATIENCE_MS = 5 * 60 * 1000;

/** Once per process. */
export async function createTemporalEngine({
  config,
  log,
  metrics,
  stopMs,
  workflowBundle,
}: EngineOptions): Promise<Engine> {
  const temporalMetrics = await installTemporalRuntime(log, config.ops.workerPort !== undefined);
  const { outageRetryMs, heartbeatTimeoutMs } = config.imports;
  let worker: Worker | undefined;
  return {
    state() {
      const status = worker?.getStatus();
      return {
        worker: status?.runState ?? "starting",
        polling: status?.workflowPollerState === "POLLING" && status.activityPollerState === "POLLING",
      };
    },
    metrics: temporalMetrics,
    async start({ steps, eraser, syncs }, signal) {
      const { address, namespace, taskQueue } = config.temporal;
      const connection = await connectWithPatience(address, CONNECT_PATIENCE_MS, signal, log);
      try {
        await registerSearchAttributes(connection, namespace, log);
        const created = await createImportWorker({
          connection,
          namespace,
          taskQueue,
          activities: observeActivities(
            {
              ...createImportActivities({ steps, log, outageRetryMs }),
              ...createEraseActivities({ eraser, log, outageRetryMs }),
              ...createSyncActivities({ syncs, steps, log, outageRetryMs }),
            },
            metrics,
          ),
          heartbeatTimeoutMs,
          stopMs,
          workflowBundle,
        });
        worker = created;
        signal.throwIfAborted();
        signal.addEventListener("abort", () => created.shutdown());
        return { ended: created.run(), close: () => connection.close() };
      } catch (error) {
        await connection.close();
        throw error;
      }
    },
  };
}
