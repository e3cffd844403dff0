/** `npm run check`: everything that must hold before a commit, all of it also after a failure. */
import { checkFormat, checkLint, checkTypes, runMocha } from "../checks.js";

const STEPS: readonly (readonly [string, () => Promise<number>])[] = [
  ["format", checkFormat],
  ["lint", checkLint],
  ["types", checkTypes],
  ["tests", () => runMocha([])],
];

export async function run(): Promise<void> {
  const summary: string[] = [];
  for (const [name, step] of STEPS) {
    console.log(`\n== ${name}`);
    const begun = Date.now();
    const code = await step();
    if (code !== 0) process.exitCode = 1;
    const seconds = ((Date.now() - begun) / 1000).toFixed(1);
    summary.push(`${name.padEnd(7)} ${code === 0 ? "ok    " : "FAILED"}  ${seconds} s`);
  }
  console.log(`\n== summary\n${summary.join("\n")}`);
}
