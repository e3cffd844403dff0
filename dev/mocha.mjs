/**
 * Mocha in this process, which ends when its parent does. Not `--import orphan.mjs`: mocha hands such flags on to the
 * processes that run files in parallel, and those live as long as their channel does.
 */
import { createRequire } from "node:module";
import "./orphan.mjs";

// Mocha sets the code when it comes to its end. A run that fizzles out before has not passed.
process.exitCode = 1;
const { main } = createRequire(import.meta.url)("mocha/lib/cli/cli.js");
main(process.argv.slice(2));
