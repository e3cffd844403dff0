/** The step of a sync, and what a schedule asks for, as Temporal activities. */
import { activityInfo, Context } from "@temporalio/activity";
import { outageOf } from "../services/import/waiting.js";
import type { ImportSteps } from "../services/import/steps.js";
import { withLogFields } from "../utils/logger.js";
import type { Logger } from "../utils/logger.js";
import type { SyncActivities } from "../workflows/contracts.js";
import type { SyncWork } from "./engine.js";
import { toFailure } from "./failures.js";
import { startPulse } from "./pulse.js";
import { ALARMING_ATTEMPT } from "./retrying.js";

export interface SyncActivitiesDependencies {
  readonly syncs: SyncWork;
  readonly steps: Pick<ImportSteps, "noteWaiting">;
  readonly log: Logger;
  readonly outageRetryMs: number;
}

export function createSyncActivities({
  syncs,
  steps,
  log,
  outageRetryMs,
}: SyncActivitiesDependencies): SyncActivities {
  const run = async <T>(
    fields: Readonly<Record<string, string | number>>,
    work: (context: Context, beat: ReturnType<typeof startPulse>["beat"]) => Promise<T>,
    onOutage: (error: unknown) => Promise<void> = () => Promise.resolve(),
  ): Promise<T> => {
    const context = Context.current();
    const { activityType, attempt: tries } = activityInfo();
    return withLogFields({ ...fields, activity: activityType }, async () => {
      const pulse = startPulse(context);
      try {
        return await work(context, pulse.beat);
      } catch (error) {
        if (!context.cancellationSignal.aborted)
          log[tries >= ALARMING_ATTEMPT ? "error" : "warn"]("an activity failed", { tries, error });
        await onOutage(error);
        throw toFailure(error, context.cancellationSignal, { tries, outageRetryMs });
      } finally {
        pulse.stop();
      }
    });
  };

  return {
    syncStep: ({ importId, attempt }) =>
      run(
        { importId, attempt },
        (context, heartbeat) =>
          syncs.step({ importId, attempt }, { signal: context.cancellationSignal, heartbeat, log }),
        async (error) => {
          const outage = outageOf(error);
          if (outage !== null) await steps.noteWaiting({ importId, attempt }, outage);
        },
      ),
    openSync: ({ connectionId }) => run({ connectionId }, () => syncs.open(connectionId)),
  };
}
