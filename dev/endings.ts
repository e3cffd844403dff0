/** All the ways in which a person or a system tells this process to stop. */
import { readFileSync } from "node:fs";
import { execFileSync } from "node:child_process";

const POLL_MS = 500;

/**
 * Calls `end` once, with the reason, on SIGINT, SIGTERM, SIGHUP, or when npm, or the shell it started us
 * through, is gone: npm does not pass a SIGTERM on to us. Later signals are swallowed, so that an impatient
 * second Ctrl-C does not cut the orderly stop short.
 */
export function onEnding(end: (reason: string) => void): { ignore(): void } {
  let ended = false;
  const once = (reason: string): void => {
    if (ended) return;
    ended = true;
    end(reason);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.on(name, once);
  // After the terminal is closed every write to it fails; that must not become an exception.
  process.stdout.on("error", () => undefined);
  process.stderr.on("error", () => undefined);

  const timer = startedByNpm() ? setInterval(watchAncestors(once), POLL_MS) : undefined;
  timer?.unref();
  return {
    ignore: () => {
      ended = true;
      clearInterval(timer);
      for (const name of signals) process.off(name, once);
    },
  };
}

const startedByNpm = (): boolean => process.env["npm_lifecycle_event"] !== undefined;

/**
 * npm runs a shell and the shell runs us, unless the shell replaced itself by us. When npm is killed the shell
 * lives on, so its parent is watched as well.
 */
function watchAncestors(gone: (reason: string) => void): () => void {
  const parent = process.ppid;
  const above = isShell(parent) ? parentOf(parent) : undefined;
  return () => {
    if (process.ppid !== parent) gone("the process that started this one is gone");
    else if (above !== undefined && parentOf(parent) !== above) gone("npm is gone");
  };
}

const isShell = (pid: number): boolean => /(^|\/)-?(sh|dash|bash|zsh|ash|ksh)$/.test(ask("comm", pid));

function parentOf(pid: number): number | undefined {
  if (process.platform !== "linux") return Number(ask("ppid", pid)) || undefined;
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    return Number(line.slice(line.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined;
  }
}

function ask(what: "comm" | "ppid", pid: number): string {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/${what}`, "utf8").trim();
    return execFileSync("ps", ["-o", `${what}=`, "-p", String(pid)], { encoding: "utf8" }).trim();
  } catch {
    return "";
  }
}
