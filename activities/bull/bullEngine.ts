/** BullMQ as what runs the steps. */
import { setTimeout as sleep } from "node:timers/promises";
import { loadBullmq } from "../../services/import/queues/bull/library.js";
import type { Engine, EngineOptions } from "../engine.js";
import { BullRunner } from "./BullRunner.js";

const CONNECT_PATIENCE_MS = 5 * 60 * 1000;

/** Throws `StartupError` when BullMQ is not installed. */
export async function createBullEngine({ config, log, metrics, stopMs }: EngineOptions): Promise<Engine> {
  const bullmq = await loadBullmq();
  const { outageRetryMs, parallelParts, heartbeatTimeoutMs } = config.imports;
  let runner: BullRunner | undefined;
  return {
    state: () => ({
      worker: runner === undefined ? "starting" : "RUNNING",
      polling: runner?.polling ?? false,
    }),
    metrics: () => Promise.resolve(null),
    async start({ steps, eraser, syncs }, signal) {
      const created = new BullRunner(bullmq, {
        ...config.queue.bull,
        log,
        metrics,
        steps,
        eraser,
        syncs,
        parallelParts,
        outageRetryMs,
        lockMs: heartbeatTimeoutMs,
      });
      try {
        const late = sleep(CONNECT_PATIENCE_MS, undefined, { signal, ref: false }).then(() => {
          throw new Error("The Redis of the import queue does not answer");
        });
        await Promise.race([created.ready(), late]);
        signal.throwIfAborted();
      } catch (error) {
        await created.stop(0);
        throw error;
      }
      runner = created;
      const ended = new Promise<void>((resolve, reject) => {
        signal.addEventListener("abort", () => void created.stop(stopMs).then(resolve, reject));
      });
      return { ended, close: () => Promise.resolve() };
    },
  };
}
