/** `npm test [-- mocha arguments]`. */
import { runMocha } from "../checks.js";

/** The whole suite waits about as much as it works: two files at a time use two processors well. */
const WHOLE_SUITE = ["--parallel", "--jobs", "2"];

export async function run(args: readonly string[]): Promise<void> {
  process.exitCode = await runMocha(args.length === 0 ? WHOLE_SUITE : args);
}
