/** What a schedule starts each time it is due: opens a sync of its connection, which is a workflow of its own. */
import { proxyActivities, workflowInfo } from "@temporalio/workflow";
import { DUE_LANE, syncTaskQueue } from "./contracts.js";
import type { OpenedSync, SyncActivities, SyncConnectionInput } from "./contracts.js";

/** As that of the syncs themselves: after uploads. */
const SYNC_PRIORITY = 4;

/** Never long: what cannot be opened in half an hour is left to the next time. */
export async function syncConnection(input: SyncConnectionInput): Promise<OpenedSync> {
  const { connectionId, userId, heartbeatTimeoutMs } = input;
  const { openSync } = proxyActivities<Pick<SyncActivities, "openSync">>({
    taskQueue: syncTaskQueue(workflowInfo().taskQueue, DUE_LANE),
    startToCloseTimeout: "60 seconds",
    heartbeatTimeout: heartbeatTimeoutMs,
    scheduleToCloseTimeout: "30 minutes",
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "1 minute" },
    priority: { priorityKey: SYNC_PRIORITY, fairnessKey: userId },
  });
  return openSync({ connectionId });
}
