/**
 * Real servers that a test may kill, freeze and bring back when it likes, which those of the run must not be. They
 * end with this process, whatever ends it.
 */
import type { ChildProcess } from "node:child_process";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { preparePostgres } from "../../dev/postgres.mjs";
import { findRedis, findTemporal } from "../../dev/programs.mjs";
import { redisServer, temporalServer } from "../../dev/servers.mjs";
import type { ServerSpec } from "../../dev/servers.mjs";
import { cacheFolder } from "../../dev/stack.js";
import { freePort, spawnServer, startedAt, tail } from "../../dev/system.mjs";

export interface OwnServer {
  readonly url: string;
  /** Where its data are. */
  readonly folder: string;
  /** Of the running process; throws while there is none. */
  readonly pid: number;
  readonly running: boolean;
  /** SIGKILL, or another signal; resolves when the process and its children are gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data; resolves when it answers. */
  start(): Promise<void>;
  /** Stops the process and its children where they are: connections stay open and nothing answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Ends it for good and removes its data. */
  close(): Promise<void>;
}

const START_TIMEOUT_MS = 60_000;
const quiet = { cache: cacheFolder(process.env), note: () => undefined };

export const startPostgres = (): Promise<OwnServer> =>
  startServer(async (folder, logFile) =>
    preparePostgres({ folder, port: await freePort(), fsync: false, logFile }),
  );

export const startTemporal = (): Promise<OwnServer> =>
  startServer(async (folder, logFile) => {
    const [port, uiPort, program] = [await freePort(), await freePort(), await findTemporal(quiet)];
    return temporalServer({ folder, port, uiPort, program, throwaway: true, logFile });
  });

export const startRedis = (): Promise<OwnServer> =>
  startServer(async (folder, logFile) =>
    redisServer({ folder, port: await freePort(), found: await findRedis(quiet), logFile }),
  );

export async function startServer(
  prepare: (
    folder: string,
    logFile: string,
  ) => Promise<ServerSpec & { readonly foreignFolder?: string | undefined }>,
): Promise<OwnServer> {
  const folder = await mkdtemp(path.join(tmpdir(), "playlog-server-"));
  await chmod(folder, 0o711);
  const spec = await prepare(folder, path.join(folder, "server.log"));
  let child: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    await spec.beforeStart?.();
    const started = await spawnServer(spec);
    child = started;
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await spec.ready(started))) {
      const ended = started.exitCode !== null || started.signalCode !== null;
      if (ended || Date.now() > deadline)
        throw new Error(`${spec.name} did not start:\n${await tail(spec.logFile)}`);
      await sleep(20);
    }
  };
  const running = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;
  const pid = (): number => {
    if (child?.pid === undefined || !running()) throw new Error(`${spec.name} does not run`);
    return child.pid;
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    const all = [pid(), ...(await childrenOf(pid()))];
    send(pid(), signal);
    for (const each of all) while ((await startedAt(each)) !== undefined) await sleep(10);
  };
  const signalAll = async (signal: NodeJS.Signals): Promise<void> => {
    // The parent first, so that a frozen one begets no more; last when they are woken.
    const all = [pid(), ...(await childrenOf(pid()))];
    for (const each of signal === "SIGCONT" ? all.reverse() : all) send(each, signal);
  };

  await start();
  return {
    url: spec.url,
    folder,
    get pid() {
      return pid();
    },
    get running() {
      return running();
    },
    kill: (signal = "SIGKILL") => kill(signal),
    start,
    freeze: () => signalAll("SIGSTOP"),
    thaw: () => signalAll("SIGCONT"),
    async close() {
      if (running()) {
        await signalAll("SIGCONT");
        await kill("SIGKILL");
      }
      if (spec.foreignFolder !== undefined) await rm(spec.foreignFolder, { recursive: true, force: true });
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ended meanwhile
  }
}

async function childrenOf(parent: number): Promise<number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-axo", "pid=,ppid="]);
  return stdout
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, ppid]) => ppid === parent)
    .map(([pid]) => pid ?? 0);
}
