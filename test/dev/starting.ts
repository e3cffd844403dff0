/** `npm start` with a folder of its own, as its tests launch it, talk to it and look for what it leaves. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePort } from "../../dev/system.mjs";
import { eventually, processesWith } from "./support.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
/** The promise to whoever stops playlog, or loses it. */
export const STOP_MS = 30_000;
export const GONE_MS = 15_000;
const READY_MS = 100_000;

export interface Run {
  readonly child: ChildProcess;
  /** Everything printed so far, both streams. */
  output(): string;
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export interface StartHome {
  readonly folder: string;
  readonly port: number;
  /** `program` on this folder and port, without any server of the test run. */
  launch(program: string, args: readonly string[], env?: Readonly<Record<string, string>>): Run;
  start(env?: Readonly<Record<string, string>>): Run;
  /** The address in the ready line; rejects when the run ends before it. */
  ready(run: Run): Promise<string>;
  post(where: string, body: object): Promise<Response>;
  nothingLeft(timeoutMs: number): Promise<boolean>;
  /** Kills what still runs, so that a test that failed half way does not make the next ones fail. */
  clear(): Promise<void>;
  remove(): void;
}

/** Linux only: looks for processes in /proc. */
export async function createStartHome(): Promise<StartHome> {
  const folder = mkdtempSync(path.join(tmpdir(), "playlog-start-test-"));
  chmodSync(folder, 0o755); // for the user that PostgreSQL runs as when this is root
  const port = await freePort();
  const runs: Run[] = [];

  const launch: StartHome["launch"] = (program, args, env = {}) => {
    const given = new Set(["DATABASE_URL", "REDIS_URL", "TEMPORAL_ADDRESS", "TEMPORAL_UI_URL"]);
    const inherited = Object.entries(process.env).filter(
      ([name]) => !given.has(name) && !/^(PLAYLOG_|npm_)/.test(name),
    );
    const child = spawn(program, args, {
      cwd: ROOT,
      env: {
        ...Object.fromEntries(inherited),
        PLAYLOG_HOME: folder,
        PORT: String(port),
        BCRYPT_COST: "4",
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    }
    const exit = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
      child.once("exit", (code, signal) => resolve({ code, signal })),
    );
    const run = { child, exit, output: () => printed };
    runs.push(run);
    return run;
  };
  const nothingLeft = (timeoutMs: number): Promise<boolean> =>
    eventually(`no process of ${folder} is left`, () => processesWith(folder).length === 0, timeoutMs);

  return {
    folder,
    port,
    launch,
    start: (env) => launch(process.execPath, ["dev/bootstrap.mjs", "start"], env),
    ready(run) {
      let over = false;
      void run.exit.then(() => (over = true));
      return eventually(
        "the ready line",
        () => {
          if (over) throw new Error(`ended before it was ready:\n${run.output()}`);
          return /^playlog ready: (\S+)$[^]*Stop with Ctrl-C/m.exec(run.output())?.[1];
        },
        READY_MS,
      );
    },
    post: (where, body) =>
      fetch(`http://localhost:${port}/api/v1${where}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      }),
    nothingLeft,
    async clear() {
      for (const { child, exit } of runs.splice(0)) {
        child.kill("SIGKILL");
        await exit;
      }
      await nothingLeft(STOP_MS);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
