import { CancelledFailure } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import type { WorkerActivities } from "../workflows/contracts.js";
import type { WorkerMetrics } from "./metrics.js";

/** The same activities, with every attempt counted and timed. */
export function observeActivities(activities: WorkerActivities, metrics: WorkerMetrics): WorkerActivities {
  const observed = Object.entries(activities).map(([activity, run]: [string, AnyActivity]) => [
    activity,
    async (input: unknown) => {
      const started = performance.now();
      const end = (failure: string | null): void =>
        metrics.activityEnded({ activity, seconds: (performance.now() - started) / 1000, failure });
      try {
        const result = await run(input);
        end(null);
        return result;
      } catch (error) {
        end(typeOf(error));
        throw error;
      }
    },
  ]);
  // Same names, same inputs, same results: `fromEntries` cannot say so.
  return Object.fromEntries(observed) as WorkerActivities;
}

type AnyActivity = (input: unknown) => Promise<unknown>;

function typeOf(error: unknown): string {
  if (error instanceof CancelledFailure) return "cancelled";
  if (error instanceof ApplicationFailure) return error.type ?? "unknown";
  return "unknown";
}
