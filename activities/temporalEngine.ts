/** Temporal as what runs the steps: its runtime, connection, search attributes and workers. */
import type { Worker } from "@temporalio/worker";
import type { Engine, EngineOptions } from "./engine.js";
import { createEraseActivities } from "./erase.js";
import { createImportActivities } from "./import.js";
import { connectWithPatience, createImportWorker, createSyncWorkers } from "./importWorker.js";
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
  let others: readonly Worker[] = [];
  return {
    state() {
      const status = worker?.getStatus();
      return {
        worker: status?.runState ?? "starting",
        polling:
          status?.workflowPollerState === "POLLING" &&
          [status, ...others.map((other) => other.getStatus())].every(
            ({ activityPollerState }) => activityPollerState === "POLLING",
          ),
      };
    },
    metrics: temporalMetrics,
    async start({ steps, eraser, syncs }, signal) {
      const { address, namespace, taskQueue } = config.temporal;
      const connection = await connectWithPatience(address, CONNECT_PATIENCE_MS, signal, log);
      try {
        await registerSearchAttributes(connection, namespace, log);
        const activities = observeActivities(
          {
            ...createImportActivities({ steps, log, outageRetryMs }),
            ...createEraseActivities({ eraser, log, outageRetryMs }),
            ...createSyncActivities({ syncs, steps, log, outageRetryMs }),
          },
          metrics,
        );
        const shared = { connection, namespace, taskQueue, activities, heartbeatTimeoutMs, stopMs };
        const created = await createImportWorker({ ...shared, workflowBundle });
        others = await createSyncWorkers(shared);
        worker = created;
        signal.throwIfAborted();
        const all = [created, ...others];
        signal.addEventListener("abort", () => {
          for (const each of all) each.shutdown();
        });
        const ended = Promise.all(all.map((each) => each.run())).then(() => undefined);
        return { ended, close: () => connection.close() };
      } catch (error) {
        await connection.close();
        throw error;
      }
    },
  };
}
