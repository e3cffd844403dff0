/** What a worker does beside its imports. A task of another kind adds a line to the list. */
import { pruneEnded } from "../services/auth/prune.js";
import { pruneStates } from "../services/connections/oauth/states.js";
import { pruneEmptySyncs } from "../services/connections/syncing/emptySyncs.js";
import { cancelOrphanedSyncs } from "../services/connections/syncing/orphanedSyncs.js";
import { reconcileSchedules } from "../services/connections/syncing/schedules.js";
import { refreshPopularity } from "../services/catalog/popularity.js";
import { deleteOrphanedUploads } from "../services/import/orphanedUploads.js";
import { catchUpLinks } from "../services/import/linkUpkeep.js";
import { closeLateCancels, reconcile } from "../services/import/reconciler.js";
import type { ReconcilerDependencies } from "../services/import/reconciler.js";
import type { Pace } from "../services/import/pace.js";
import { searchUpkeep } from "../services/search/upkeep.js";
import { refreshStatistics } from "../services/stats/upkeep.js";
import type { WorkerBlobStore } from "../services/storage/BlobStore.js";
import type { UpkeepTask } from "../services/upkeep.js";
import { startErases } from "../services/users/erasing.js";
import type { WorkerMetrics } from "./metrics.js";

const LATE_CANCELS_INTERVAL_MS = 2000;
const ORPHANS_INTERVAL_MS = 60 * 60 * 1000;
/** How often a look is taken at whether to count again; see services/catalog/popularity.ts. */
const POPULARITY_INTERVAL_MS = 10_000;
const PRUNE_INTERVAL_MS = 60 * 60 * 1000;
const STATISTICS_INTERVAL_MS = 5000;
/** Names that were corrected change what is counted within so many milliseconds. */
const LINKS_INTERVAL_MS = 2000;
/** New names are to be found within ten seconds. */
const SEARCH_INTERVAL_MS = 2000;

export interface UpkeepDependencies extends ReconcilerDependencies {
  readonly blobs: WorkerBlobStore;
  readonly reconcileIntervalMs: number;
  readonly workerMetrics: WorkerMetrics;
  readonly pace?: Pace;
}

export const upkeepTasks = (deps: UpkeepDependencies): readonly UpkeepTask[] => [
  { name: "reconciling", everyMs: deps.reconcileIntervalMs, run: () => observedReconcile(deps) },
  { name: "closing cancelled imports", everyMs: LATE_CANCELS_INTERVAL_MS, run: () => closeLateCancels(deps) },
  { name: "comparing schedules", everyMs: deps.reconcileIntervalMs, run: () => observedSchedules(deps) },
  {
    name: "cancelling syncs without a connection",
    everyMs: deps.reconcileIntervalMs,
    run: () => cancelOrphanedSyncs(deps),
  },
  { name: "starting erases", everyMs: deps.reconcileIntervalMs, run: () => startErases(deps) },
  { name: "linking plays", everyMs: LINKS_INTERVAL_MS, run: () => catchUpLinks(deps.pool) },
  { name: "making statistics", everyMs: STATISTICS_INTERVAL_MS, run: () => refreshStatistics(deps) },
  { name: "deleting orphaned uploads", everyMs: ORPHANS_INTERVAL_MS, run: () => deleteOrphanedUploads(deps) },
  {
    name: "deleting ended sessions and tokens",
    everyMs: PRUNE_INTERVAL_MS,
    run: () => pruneEnded(deps.pool),
  },
  {
    name: "deleting begun authorizations",
    everyMs: PRUNE_INTERVAL_MS,
    run: () => pruneStates(deps.pool),
  },
  {
    name: "deleting syncs that found nothing",
    everyMs: PRUNE_INTERVAL_MS,
    run: () => pruneEmptySyncs(deps.pool),
  },
  { name: "updating the search index", everyMs: SEARCH_INTERVAL_MS, run: searchUpkeep(deps.pool, deps.pace) },
  { name: "counting popularity", everyMs: POPULARITY_INTERVAL_MS, run: () => refreshPopularity(deps) },
];

async function observedReconcile(deps: UpkeepDependencies): Promise<void> {
  try {
    deps.workerMetrics.reconciled(await reconcile(deps));
  } catch (error) {
    deps.workerMetrics.reconciled(undefined);
    throw error;
  }
}

async function observedSchedules(deps: UpkeepDependencies): Promise<void> {
  const { told, removed } = await reconcileSchedules(deps);
  deps.workerMetrics.schedulesCompared({ told, removed });
}
