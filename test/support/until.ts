import { setTimeout as sleep } from "node:timers/promises";

/** Waits for a condition; throws, naming it, when it does not come true in time. */
export async function until(
  what: string,
  test: () => Promise<boolean> | boolean,
  ms = 10_000,
): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await test())) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${ms} ms`);
    await sleep(10);
  }
}
