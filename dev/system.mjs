/** Small questions to the operating system: processes, ports, programs on PATH. Built-ins only. */
import { execFile, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, open, readFile, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { setPriority } from "node:os";
import path from "node:path";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const running = new Set();

/** Runs a program to its end; never throws: a program that is not there has code 127. */
export function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const settings = { maxBuffer: 16 * 1024 * 1024, ...options };
    const child = execFile(program, args, settings, (error, stdout, stderr) => {
      running.delete(child);
      resolve({
        code: error === null ? 0 : typeof error.code === "number" ? error.code : 127,
        stdout: String(stdout),
        stderr: String(stderr) || (error?.message ?? ""),
      });
    });
    running.add(child);
    child.stdin?.end();
  });
}

/** Ends every program that `run` is still waiting for. */
export function endRuns() {
  for (const child of running) child.kill("SIGKILL");
}

/** Full path of an executable on PATH, or undefined. */
export async function which(name) {
  for (const folder of (process.env.PATH ?? "").split(path.delimiter)) {
    if (folder === "") continue;
    const file = path.resolve(folder, name);
    if (await isExecutable(file)) return file;
  }
  return undefined;
}

export async function isExecutable(file) {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}

/** When a process started, as an opaque text; undefined when there is none (a zombie counts as none). */
export async function startedAt(pid) {
  if (process.platform === "linux") {
    try {
      const line = await readFile(`/proc/${pid}/stat`, "utf8");
      const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
      return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  const { code, stdout } = await run("ps", ["-o", "stat=,lstart=", "-p", String(pid)]);
  const text = stdout.trim();
  return code !== 0 || text === "" || text.startsWith("Z") ? undefined : text.replace(/^\S+\s+/, "");
}

/** Pids are reused, so a process is known by its pid and its start time together. */
export const isSame = async ({ pid, start }) => start !== undefined && (await startedAt(pid)) === start;

export function signal(pid, name) {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false; // gone already, or not ours
  }
}

/** Ends a process known by pid and start time: its own signal first, SIGKILL after `graceMs`. */
export async function endProcess(known, graceMs) {
  if (!(await isSame(known))) return;
  signal(known.pid, known.signal);
  const deadline = Date.now() + graceMs;
  while (await isSame(known)) {
    if (Date.now() > deadline) signal(known.pid, "SIGKILL");
    await sleep(50);
  }
}

/** Whether nobody listens on the port. */
export function canListen(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * A port nobody listens on: `wanted` or the next free one after it; without `wanted` a random one between
 * 20000 and 31999, below the range systems hand out to outgoing connections, so that it is still free when
 * a server comes back to it.
 */
export async function freePort(wanted, taken = new Set()) {
  for (let n = 0; n < 500; n += 1) {
    const port = wanted === undefined ? 20_000 + Math.floor(Math.random() * 12_000) : wanted + n;
    if (taken.has(port) || !(await canListen(port))) continue;
    taken.add(port);
    return port;
  }
  throw new Error(`no free port found near ${wanted ?? 20_000}`);
}

let setprivPath;

/**
 * Starts a server that ends with this process. On Linux the kernel sees to that (setpriv --pdeathsig), even
 * when this process is killed with SIGKILL; elsewhere the record of pids does, at the next start.
 */
export async function spawnServer({ program, args, env, user, logFile, endSignal, niceness = 0 }) {
  setprivPath ??= (process.platform === "linux" ? await which("setpriv") : undefined) ?? "";
  const guarded = setprivPath !== "";
  const log = await open(logFile, (await sizeOf(logFile)) > 10 * 1024 * 1024 ? "w" : "a");
  try {
    const child = spawn(
      guarded ? setprivPath : program,
      guarded ? ["--pdeathsig", endSignal.replace(/^SIG/, ""), "--", program, ...args] : args,
      { cwd: "/", env, stdio: ["ignore", log.fd, log.fd], ...(user ?? {}) },
    );
    await new Promise((resolve, reject) => {
      child.once("spawn", resolve);
      child.once("error", (error) => reject(new Error(`${program} cannot be started: ${error.message}`)));
    });
    if (niceness > 0) giveWay(child.pid, niceness);
    return child;
  } finally {
    await log.close();
  }
}

/** It may be gone already, which its waiter finds out and tells. */
function giveWay(pid, niceness) {
  try {
    setPriority(pid, niceness);
  } catch {
    // Only its turn among other processes is at stake.
  }
}

const sizeOf = (file) => stat(file).then((s) => s.size, () => 0); // prettier-ignore

/** The last lines of a log, for the message about a server that would not start. */
export async function tail(file, lines = 6) {
  const text = await readFile(file, "utf8").catch(() => "");
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}
