/**
 * The service's own entry points as child processes, the way `npm start` and the images run them: settings through the
 * environment, the message "ready" when they are, SIGTERM to stop.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { compiledEntry } from "./compiled.js";

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const READY_TIMEOUT_MS = 60_000;

export interface RunningEntry {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Everything it has printed so far, for messages of failed tests. */
  output(): string;
  /** Sends the signal and waits for the end; resolves with the exit code, null after a kill. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/**
 * Starts `entry` (a path from the repository root) and waits until it says that it is ready.
 * `env` is laid over this process's environment; without RATE_LIMIT in it nobody is limited. Rejects with its output when it ends before or says nothing for a minute.
 */
export async function startEntry(
  entry: string,
  env: Readonly<Record<string, string>>,
  execArgv: readonly string[] = [],
): Promise<RunningEntry> {
  const compiled = compiledEntry(entry);
  const child = fork(compiled ?? path.join(ROOT, entry), {
    cwd: ROOT,
    env: { ...process.env, RATE_LIMIT: "off", ...env },
    execArgv: [...(compiled === undefined ? ["--import", "tsx"] : []), ...execArgv],
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  let printed = "";
  const collect = (chunk: Buffer): void => {
    printed = (printed + chunk.toString()).slice(-20_000);
  };
  child.stdout?.on("data", collect);
  child.stderr?.on("data", collect);
  const ended = once(child, "exit") as Promise<[number | null, NodeJS.Signals | null]>;

  let timer: NodeJS.Timeout | undefined;
  try {
    await Promise.race([
      new Promise<void>((resolve) => {
        child.on("message", (message) => {
          if (message === "ready") resolve();
        });
      }),
      ended.then(([code]) => {
        throw new Error(`${entry} ended with ${code} before it was ready:\n${printed}`);
      }),
      new Promise<never>((_, reject) => {
        timer = setTimeout(
          () => reject(new Error(`${entry} was not ready in time:\n${printed}`)),
          READY_TIMEOUT_MS,
        );
      }),
    ]);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    clearTimeout(timer);
  }

  return {
    pid: child.pid as number,
    child,
    output: () => printed,
    stop: async (signal = "SIGTERM") => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const [code] = await ended;
      return code;
    },
  };
}

/** A TCP port of 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
