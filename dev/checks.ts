/** The tools behind `npm test` and `npm run check`, as child processes that end with this one. */
import { spawn } from "node:child_process";
import path from "node:path";
import { onEnding } from "./endings.js";

const ROOT = path.resolve(import.meta.dirname, "..");
const tool = (...file: string[]): string => path.join(ROOT, "node_modules", ...file);

/** Runs mocha with the given arguments; returns its exit code. */
export function runMocha(args: readonly string[]): Promise<number> {
  // Mocha's own front end would start this as a child of its own and not pass signals on.
  return runNode(["--import", "tsx", path.join(import.meta.dirname, "mocha.mjs"), ...args]);
}

export const checkFormat = (): Promise<number> =>
  runNode([tool("prettier", "bin", "prettier.cjs"), "--check", "."]);
export const checkLint = (): Promise<number> =>
  runNode([tool("eslint", "bin", "eslint.js"), ".", "--max-warnings", "0"]);
export const checkTypes = (): Promise<number> => runNode([tool("typescript", "bin", "tsc"), "--noEmit"]);

function runNode(args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: ROOT,
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      env: { ...process.env, PLAYLOG_ORPHAN_GRACE_MS: "1000" },
    });
    // A Ctrl-C reaches the child by itself.
    const ending = onEnding((reason) => {
      if (reason !== "SIGINT") child.kill("SIGTERM");
    });
    child.once("error", reject);
    child.once("exit", (code) => {
      ending.ignore();
      resolve(code ?? 1);
    });
  });
}
