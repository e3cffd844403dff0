/** What is still held in memory, after everything else was collected. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let collector: (() => void) | undefined;

function collect(): void {
  if (collector === undefined) {
    setFlagsFromString("--expose-gc");
    collector = runInNewContext("gc") as () => void;
  }
  collector();
}

/** Collects garbage for good: what a weak reference still finds afterwards is held by somebody. */
export async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 3; round += 1) {
    await nextTurn(); // a weak reference that was looked at holds until the turn is over
    collect();
  }
}

/** Megabytes of the heap in use at this moment. */
export function heapMegabytes(): number {
  collect();
  return process.memoryUsage().heapUsed / 1e6;
}
