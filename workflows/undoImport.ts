/** Takes a closed import back: one activity, patient without end, for an undo that has begun must come to its end. */
import { CancellationScope, proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { ImportActivities, UndoInput, UndoResult } from "./contracts.js";
import { isClosed } from "./failures.js";
import { showPhase } from "./phases.js";

/**
 * A cancel from outside changes nothing: half an undo is no state that anybody can want. One that was terminated is
 * started again, and goes on where it was.
 */
export async function undoImport(input: UndoInput): Promise<UndoResult> {
  const { importId, heartbeatTimeoutMs } = input;
  const acts = proxyActivities<Pick<ImportActivities, "undoImport">>({
    startToCloseTimeout: "60 minutes",
    heartbeatTimeout: heartbeatTimeoutMs,
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "10 seconds" },
  });
  return CancellationScope.nonCancellable(async () => {
    showPhase(input, "undoing");
    setCurrentDetails("**undoing**");
    const result = await acts.undoImport({ importId }).catch((err: unknown): UndoResult => {
      // There is nothing to undo: the row says that it is over, or never was asked for.
      if (isClosed(err)) return { removed: 0, handedOver: 0 };
      throw err;
    });
    showPhase(input, "done");
    setCurrentDetails(
      `**done**\n\n| plays removed | handed to another import |\n| ---: | ---: |\n| ${result.removed} | ${result.handedOver} |`,
    );
    return result;
  });
}
