/** The erase of an account as Temporal activities; the work is done by services/users/AccountEraser.ts. */
import { activityInfo, Context } from "@temporalio/activity";
import type { StepContext } from "../services/import/stepContext.js";
import type { AccountEraser } from "../services/users/AccountEraser.js";
import { withLogFields } from "../utils/logger.js";
import type { Logger } from "../utils/logger.js";
import type { EraseActivities } from "../workflows/contracts.js";
import { toFailure } from "./failures.js";
import { startPulse } from "./pulse.js";
import { ALARMING_ATTEMPT } from "./retrying.js";

export interface EraseActivitiesDependencies {
  readonly eraser: AccountEraser;
  readonly log: Logger;
  readonly outageRetryMs: number;
}

export function createEraseActivities({
  eraser,
  log,
  outageRetryMs,
}: EraseActivitiesDependencies): EraseActivities {
  const run = async <T>(userId: string, work: (context: StepContext) => Promise<T>): Promise<T> => {
    const context = Context.current();
    const { cancellationSignal: signal } = context;
    const { activityType, attempt: tries } = activityInfo();
    return withLogFields({ userId, activity: activityType }, async () => {
      const pulse = startPulse(context);
      try {
        return await work({ signal, heartbeat: pulse.beat, log });
      } catch (error) {
        const level = tries >= ALARMING_ATTEMPT ? "error" : "warn";
        if (!signal.aborted) log[level]("an activity failed", { tries, error });
        throw toFailure(error, signal, { tries, outageRetryMs });
      } finally {
        pulse.stop();
      }
    });
  };

  return {
    stopImports: ({ userId }) => run(userId, () => eraser.stopImports(userId)),
    eraseAccount: ({ userId }) => run(userId, (context) => eraser.erase(userId, context)),
  };
}
