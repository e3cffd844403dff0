/** The steps of an import as Temporal activities: heartbeat, cancellation and kinds of failure live here, the work does not. */
import { activityInfo, Context } from "@temporalio/activity";
import type { ImportSteps } from "../services/import/steps.js";
import type { StepContext } from "../services/import/stepContext.js";
import { outageOf } from "../services/import/waiting.js";
import { withLogFields } from "../utils/logger.js";
import type { Logger } from "../utils/logger.js";
import type { ImportActivities, ImportRun } from "../workflows/contracts.js";
import { toFailure } from "./failures.js";
import { startPulse } from "./pulse.js";
import { ALARMING_ATTEMPT } from "./retrying.js";

export interface ImportActivitiesDependencies {
  readonly steps: ImportSteps;
  readonly log: Logger;
  readonly outageRetryMs: number;
}

export function createImportActivities({
  steps,
  log,
  outageRetryMs,
}: ImportActivitiesDependencies): ImportActivities {
  const run = async <T>(
    ref: Pick<ImportRun, "importId"> & Partial<ImportRun>,
    work: (context: StepContext) => Promise<T>,
  ): Promise<T> => {
    const context = Context.current();
    const { activityType, attempt } = activityInfo();
    const fields = { importId: ref.importId, attempt: ref.attempt, activity: activityType };
    return withLogFields(fields, async () => {
      const pulse = startPulse(context);
      try {
        return await work({ signal: context.cancellationSignal, heartbeat: pulse.beat, log });
      } catch (error) {
        if (!context.cancellationSignal.aborted)
          log[attempt >= ALARMING_ATTEMPT ? "error" : "warn"]("an activity failed", {
            tries: attempt,
            error,
          });
        const outage = outageOf(error);
        if (outage !== null) await steps.noteWaiting(ref, outage);
        throw toFailure(error, context.cancellationSignal, { tries: attempt, outageRetryMs });
      } finally {
        pulse.stop();
      }
    });
  };

  return {
    prepare: (ref) => run(ref, (context) => steps.prepare(ref, context)),
    openParts: (input) => run(input, () => steps.openParts(input, input.afterPart, input.limit)),
    importPart: (input) => run(input, (context) => steps.importPart(input, input.partNo, context)),
    failPart: (input) =>
      run(input, () => steps.failPart(input, input.partNo, { code: input.code, message: input.message })),
    linkPlays: (ref) => run(ref, (context) => steps.link(ref, context)),
    finish: (input) => run(input, async () => ({ status: await steps.finish(input, input) })),
    park: (ref) => run(ref, () => steps.park(ref)),
    unpark: (ref) => run(ref, () => steps.unpark(ref)),
    undoImport: ({ importId }) => run({ importId }, (context) => steps.undo(importId, context)),
  };
}
