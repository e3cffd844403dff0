/** What a worker does beside its imports. A task of another kind adds a line to the list. */
import { deleteOrphanedUploads } from "../services/import/orphanedUploads.js";
import { closeLateCancels, reconcile } from "../services/import/reconciler.js";
import type { ReconcilerDependencies } from "../services/import/reconciler.js";
import type { WorkerBlobStore } from "../services/storage/BlobStore.js";
import type { UpkeepTask } from "../services/upkeep.js";
import type { WorkerMetrics } from "./metrics.js";

const LATE_CANCELS_INTERVAL_MS = 2000;
const ORPHANS_INTERVAL_MS = 60 * 60 * 1000;

export interface UpkeepDependencies extends ReconcilerDependencies {
  readonly blobs: WorkerBlobStore;
  readonly reconcileIntervalMs: number;
  readonly workerMetrics: WorkerMetrics;
}

export const upkeepTasks = (deps: UpkeepDependencies): readonly UpkeepTask[] => [
  { name: "reconciling", everyMs: deps.reconcileIntervalMs, run: () => observedReconcile(deps) },
  { name: "closing cancelled imports", everyMs: LATE_CANCELS_INTERVAL_MS, run: () => closeLateCancels(deps) },
  { name: "deleting orphaned uploads", everyMs: ORPHANS_INTERVAL_MS, run: () => deleteOrphanedUploads(deps) },
];

async function observedReconcile(deps: UpkeepDependencies): Promise<void> {
  try {
    deps.workerMetrics.reconciled(await reconcile(deps));
  } catch (error) {
    deps.workerMetrics.reconciled(undefined);
    throw error;
  }
}
