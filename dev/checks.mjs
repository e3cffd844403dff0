/** `npm test` and `npm run check`: the tools as child processes, one after the other. */
import { spawn } from "node:child_process";
import path from "node:path";
import { pathToFileURL } from "node:url";

const bin = (root, ...file) => path.join(root, "node_modules", ...file);

/** Runs mocha with the given arguments; returns its exit code. */
export function runTests(root, args) {
  const guard = pathToFileURL(path.join(root, "dev", "orphan.mjs")).href;
  return runNode(
    root,
    ["--import", "tsx", "--import", guard, bin(root, "mocha", "lib", "cli", "cli.js"), ...args],
    {
      PLAYLOG_ORPHAN_GRACE_MS: "1000",
    },
  );
}

/** Everything that must hold before a commit. Runs all of it, also after a failure; returns the exit code. */
export async function runCheck(root) {
  const steps = [
    ["format", () => runNode(root, [bin(root, "prettier", "bin", "prettier.cjs"), "--check", "."])],
    ["lint", () => runNode(root, [bin(root, "eslint", "bin", "eslint.js"), ".", "--max-warnings", "0"])],
    ["types", () => runNode(root, [bin(root, "typescript", "bin", "tsc"), "--noEmit"])],
    ["tests", () => runTests(root, [])],
  ];
  const summary = [];
  let failed = false;
  for (const [name, step] of steps) {
    console.log(`\n== ${name}`);
    const begun = Date.now();
    const code = await step();
    failed ||= code !== 0;
    summary.push(
      `${name.padEnd(7)} ${code === 0 ? "ok" : "FAILED"}  ${((Date.now() - begun) / 1000).toFixed(1)} s`,
    );
  }
  console.log(`\n== summary\n${summary.join("\n")}`);
  return failed ? 1 : 0;
}

/** A Node program that ends with this process; Ctrl-C reaches it by itself, other signals are passed on. */
function runNode(root, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      env: { ...process.env, ...env },
    });
    const forward = (signal) => child.kill(signal);
    const wait = () => undefined;
    process.on("SIGINT", wait);
    for (const name of ["SIGTERM", "SIGHUP"]) process.on(name, forward);
    child.once("error", reject);
    child.once("exit", (code) => {
      process.off("SIGINT", wait);
      for (const name of ["SIGTERM", "SIGHUP"]) process.off(name, forward);
      resolve(code ?? 1);
    });
  });
}
