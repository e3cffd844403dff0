/** Waiting while the job is paused. Its row says whether it is; signals only wake a run, or tell it to look. */
import { condition, defineSignal, setHandler } from "@temporalio/workflow";
import { PAUSE_SIGNAL } from "./contracts.js";
import type { ImportActivities, ImportRun } from "./contracts.js";

/**
 * The row may be closed, or gone with its account, and nobody left to wake the run. A year of looking at it so seldom
 * stays far from the server's limits.
 */
const LOOK_AGAIN_AFTER = "1 day";

const pauseSignal = defineSignal<[boolean]>(PAUSE_SIGNAL);

export interface Pausing {
  /** True when the run was told to start nothing new, and has not looked at the row since. */
  asked(): boolean;
  /** Returns when the job is not paused, at once or after it was resumed. Cancellable. */
  untilResumed(): Promise<void>;
}

/** Call it once, before anything else: a signal may be there already. */
export function listenForPauses(run: ImportRun, acts: Pick<ImportActivities, "park" | "unpark">): Pausing {
  let asked = false;
  let wakeUps = 0;
  setHandler(
    pauseSignal,
    (paused) => {
      asked = paused;
      if (!paused) wakeUps += 1;
    },
    { description: "Pause, or go on. The job's row decides; this only makes the run look." },
  );
  return {
    asked: () => asked,
    async untilResumed() {
      // Whoever resumes changes the row first. A signal counted before the row is looked at is of no use afterwards;
      // one that comes after it has been looked at is counted by then.
      let heard = wakeUps;
      asked = false;
      if (!(await acts.park(run)).parked) return;
      for (;;) {
        await condition(() => wakeUps > heard, LOOK_AGAIN_AFTER);
        heard = wakeUps;
        asked = false;
        if ((await acts.unpark(run)).resumed) return;
      }
    },
  };
}
