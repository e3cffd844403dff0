/** The queue that the settings name, with nothing loaded of the other. */
import type { Logger } from "../../../utils/logger.js";
import type { ImportQueue, JobRef } from "../ImportQueue.js";

export interface ImportQueueSettings {
  readonly queue: {
    readonly kind: "temporal" | "bullmq";
    readonly bull: { readonly name: string; readonly redisUrl: string };
  };
  readonly temporal: { readonly address: string; readonly namespace: string; readonly taskQueue: string };
  readonly imports: { readonly parallelParts: number; readonly heartbeatTimeoutMs: number };
}

export interface ImportQueueDependencies {
  readonly log: Logger;
  /** Whether the row says that this run of an import has come to its end; for a queue that forgets. */
  readonly isOver: (ref: JobRef) => Promise<boolean>;
}

/** Connects at the first call. Throws a sentence for whoever runs playlog when what it needs is not installed. */
export async function openImportQueue(
  { queue, temporal, imports }: ImportQueueSettings,
  { log, isOver }: ImportQueueDependencies,
): Promise<ImportQueue> {
  switch (queue.kind) {
    case "temporal": {
      const { TemporalImportQueue } = await import("./TemporalImportQueue.js");
      const { parallelParts, heartbeatTimeoutMs } = imports;
      return new TemporalImportQueue({ ...temporal, parallelParts, heartbeatTimeoutMs, log });
    }
    case "bullmq": {
      const { BullImportQueue } = await import("./BullImportQueue.js");
      return BullImportQueue.open({ ...queue.bull, log, isOver });
    }
  }
}
