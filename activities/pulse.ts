import type { Context } from "@temporalio/activity";
import type { StepContext } from "../services/import/stepContext.js";

/**
 * Heartbeats by the clock, with the newest details: a step that waits long for the database is alive too. Without
 * a heartbeat timeout none are sent.
 */
export function startPulse(context: Context): { beat: StepContext["heartbeat"]; stop: () => void } {
  let details: Readonly<Record<string, string | number>> = {};
  const { heartbeatTimeoutMs } = context.info;
  if (heartbeatTimeoutMs === undefined || heartbeatTimeoutMs === 0) return { beat: () => {}, stop: () => {} };
  const timer = setInterval(() => context.heartbeat(details), heartbeatTimeoutMs / 4);
  context.heartbeat(details);
  return {
    beat: (info) => {
      details = info;
    },
    stop: () => clearInterval(timer),
  };
}
