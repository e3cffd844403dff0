/** The programs that take part in a measurement over HTTP: started apart from each other, each on the core it is given. */
import { execFile, fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { compiledIn, compileService } from "../../../dev/compile.js";
import { readRecord } from "../../../dev/home.mjs";
import { cpuSeconds } from "../meter.js";
import type { LoadOrder, LoadReport } from "./load.js";

const ROOT = path.resolve(import.meta.dirname, "../../..");

export interface Program {
  readonly pid: number;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

let compiled: Promise<string> | undefined;

/** As in production: compiling on the way gives each function a name when it is made, at a cost for every request. */
const compiledFolder = (): Promise<string> =>
  (compiled ??= compileService(["./bench/support/**/*.ts"]).then((folder) => {
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    return folder;
  }));

/**
 * Starts `entry` (from the root, compiled) and waits until it says that it is ready. What it logs goes nowhere, so that nobody has
 * to read it while something else is measured.
 */
export async function startProgram(
  entry: string,
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
): Promise<Program> {
  const child = fork(compiledIn(await compiledFolder(), entry), {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: "production", ...env },
    execArgv: [...execArgv],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const ended = once(child, "exit");
  const ready = new Promise<void>((resolve) =>
    child.on("message", (message) => {
      if (message === "ready") resolve();
    }),
  );
  const early = ended.then(() => {
    throw new Error(`${entry} ended before it was ready`);
  });
  await Promise.race([ready, early]);
  early.catch(() => undefined);
  return {
    pid: child.pid as number,
    child,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** Puts a process and all its threads on these cores; without taskset it stays where it is. */
export async function pin(pid: number, cores: string): Promise<void> {
  await promisify(execFile)("taskset", ["-a", "-c", "-p", cores, String(pid)]).catch(() => undefined);
}

/** The servers of the stack and what they have forked so far; their later children inherit the core. */
export async function pinServers(cores: string): Promise<void> {
  const folder = process.env["PLAYLOG_STACK_FOLDER"];
  const record = folder === undefined ? undefined : await readRecord(folder);
  for (const { pid } of record?.servers ?? []) {
    await pin(pid, cores);
    const { stdout } = await promisify(execFile)("ps", ["-o", "pid=", "--ppid", String(pid)]).catch(() => ({
      stdout: "",
    }));
    for (const child of stdout.split(/\s+/).filter(Boolean)) await pin(Number(child), cores);
  }
}

export interface Load extends Program {
  run(order: LoadOrder): Promise<LoadReport>;
}

export async function startLoad(): Promise<Load> {
  const program = await startProgram("bench/support/http/load.ts", {});
  return {
    ...program,
    run: async (order) => {
      const answer = once(program.child, "message") as Promise<[{ report?: LoadReport; error?: string }]>;
      program.child.send(order);
      const [{ report, error }] = await answer;
      if (report === undefined) throw new Error(`the load could not be made: ${error}`);
      return report;
    },
  };
}

export interface Measured extends LoadReport {
  readonly perSecond: number;
  /** Processor time of the server for one answer, in microseconds. */
  readonly cpuUs: number;
}

/** Throws when any answer was not 200. */
export async function measureLoad(load: Load, server: Program, order: LoadOrder): Promise<Measured> {
  const before = await cpuSeconds(server.pid);
  const report = await load.run(order);
  const cpu = (await cpuSeconds(server.pid)) - before;
  const wrong = Object.keys(report.statuses).filter((status) => status !== "200");
  if (wrong.length > 0) throw new Error(`answers were not 200: ${JSON.stringify(report.statuses)}`);
  return { ...report, perSecond: report.answers / report.seconds, cpuUs: (cpu / report.answers) * 1e6 };
}
