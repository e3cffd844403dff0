/** The service as the run of the tests, or a benchmark, has compiled it. */
import { compiledIn } from "../../dev/compile.js";

/** Where the compiled form of `entry` (a path from the repository root) is; undefined when this run compiled nothing. */
export function compiledEntry(entry: string): string | undefined {
  const folder = process.env["PLAYLOG_TEST_COMPILED"];
  return folder === undefined ? undefined : compiledIn(folder, entry);
}
