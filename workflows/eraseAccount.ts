/** Deletes an account that is switched off: first its imports come to rest, then everything goes, the account last. */
import { CancellationScope, proxyActivities, setCurrentDetails, sleep } from "@temporalio/workflow";
import type { EraseActivities, EraseInput, EraseProgress } from "./contracts.js";
import { showPhase } from "./phases.js";

const FIRST_LOOK_MS = 500;
const LONGEST_LOOK_MS = 30_000;

/**
 * A cancel from outside changes nothing, as for an undo: nobody can want half an account. One that was terminated is started
 * again, and goes on where it was.
 */
export async function eraseAccount(input: EraseInput): Promise<EraseProgress> {
  const { userId, heartbeatTimeoutMs } = input;
  const acts = proxyActivities<EraseActivities>({
    startToCloseTimeout: "60 minutes",
    heartbeatTimeout: heartbeatTimeoutMs,
    retry: { initialInterval: "1 second", backoffCoefficient: 2, maximumInterval: "10 seconds" },
  });

  const untilImportsRest = async (): Promise<void> => {
    let pauseMs = FIRST_LOOK_MS;
    while ((await acts.stopImports({ userId })).underWay > 0) {
      await sleep(pauseMs);
      pauseMs = Math.min(pauseMs * 2, LONGEST_LOOK_MS);
    }
  };

  return CancellationScope.nonCancellable(async () => {
    showPhase(input, "erasing");
    setCurrentDetails("**erasing**");
    let [plays, imports] = [0, 0];
    for (let finished = false; !finished;) {
      await untilImportsRest();
      const step = await acts.eraseAccount({ userId });
      plays += step.plays;
      imports += step.imports;
      finished = step.finished;
    }
    showPhase(input, "done");
    setCurrentDetails(
      `**done**\n\n| plays deleted | imports deleted |\n| ---: | ---: |\n| ${plays} | ${imports} |`,
    );
    return { plays, imports };
  });
}
