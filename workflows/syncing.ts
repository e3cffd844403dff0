/** The part of an import that is a sync's alone: page after page of its provider, and the waiting in between. */
import { condition, proxyActivities, workflowInfo } from "@temporalio/workflow";
import { syncTaskQueue } from "./contracts.js";
import type { ImportHistoryInput, ImportRun, SyncActivities, SyncStepResult } from "./contracts.js";
import type { Pausing } from "./pausing.js";

/** `upload`: what the provider gave is the job's upload now. `full`: the history has grown long, and another run goes on. */
export type SyncedPages = "done" | "upload" | "stopped" | "full";

export interface SyncHooks {
  /** A page is in. */
  onPage(counts: { readonly read: number; readonly inserted: number }): void;
  /** Waits while the job is paused. */
  rest(): Promise<void>;
  /** Around a wait for the provider, which is a timer of the server: it outlives every worker. */
  onWait(until: string): void;
  onGoOn(): void;
}

/** A step is about six events, a wait four more: a run of so many is short for whoever looks at it, and quick to replay. */
const STEPS_PER_RUN = 50;

/** Asks until there is nothing more to ask for. A pause or a cancel cuts a wait short. */
export async function syncPages(
  run: ImportRun,
  { syncStep }: Pick<SyncActivities, "syncStep">,
  pausing: Pausing,
  hooks: SyncHooks,
): Promise<SyncedPages> {
  for (let steps = 0; ; steps += 1) {
    if (pausing.asked()) await hooks.rest();
    if (steps >= STEPS_PER_RUN || workflowInfo().continueAsNewSuggested) return "full";
    const step = await syncStep(run);
    switch (step.status) {
      case "more":
        hooks.onPage(step);
        break;
      case "waiting":
        hooks.onWait(step.until);
        await wait(step, pausing);
        hooks.onGoOn();
        break;
      case "paused":
        await hooks.rest();
        break;
      case "done":
        hooks.onPage(step);
        return "done";
      case "upload":
      case "stopped":
        return step.status;
    }
  }
}

async function wait(
  { until, reason }: Extract<SyncStepResult, { status: "waiting" }>,
  pausing: Pausing,
): Promise<void> {
  const ms = Math.max(1, Date.parse(until) - Date.now());
  await condition(() => pausing.asked(), ms, { summary: `${reason} until ${until}` });
}

/**
 * A page is a request and a transaction; the file of a provider may take its time. What failed says itself when it is to be
 * tried again, as any step of an import does; how often a provider may fail, the step decides.
 */
export function syncActivities({
  heartbeatTimeoutMs,
  syncLane,
}: Pick<ImportHistoryInput, "heartbeatTimeoutMs" | "syncLane">): Pick<SyncActivities, "syncStep"> {
  return proxyActivities<Pick<SyncActivities, "syncStep">>({
    ...(syncLane === undefined ? {} : { taskQueue: syncTaskQueue(workflowInfo().taskQueue, syncLane) }),
    startToCloseTimeout: "60 minutes",
    heartbeatTimeout: heartbeatTimeoutMs,
    scheduleToCloseTimeout: "24 hours",
    retry: { initialInterval: "2 seconds", backoffCoefficient: 2, maximumInterval: "10 seconds" },
  });
}
