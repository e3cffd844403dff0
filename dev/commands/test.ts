/** `npm test [-- mocha arguments]`. */
import { runMocha } from "../checks.js";

export async function run(args: readonly string[]): Promise<void> {
  process.exitCode = await runMocha(args);
}
