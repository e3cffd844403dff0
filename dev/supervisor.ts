/** One of our own processes, kept running: forked, waited for, started again when it dies. */
import { type ChildProcess, fork } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compiledIn } from "./compile.js";

const ROOT = path.resolve(import.meta.dirname, "..");
const READY_TIMEOUT_MS = 60_000;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
/** A process that lived this long starts its next series of restarts with the shortest delay again. */
const STEADY_MS = 30_000;
const LOG_LIMIT_BYTES = 10 * 1024 * 1024;
const GUARD = pathToFileURL(fileURLToPath(new URL("orphan.mjs", import.meta.url))).href;

export interface SupervisedOptions {
  /** How it is called in messages, and the name of its log. */
  readonly name: string;
  /** From the root of the repository. */
  readonly entry: string;
  /** What `compileService` made; without it the process compiles on the way. */
  readonly compiled?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly logFolder: string;
  /** For Node itself, such as the bound of its heap. */
  readonly nodeOptions?: readonly string[];
  readonly note: (text: string) => void;
}

/**
 * The contract with an entry point: it sends "ready" over its channel when it serves, and stops in an orderly
 * way, with exit code 0, on SIGTERM and when the channel closes.
 */
export class SupervisedProcess {
  readonly #options: SupervisedOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #delayMs = FIRST_DELAY_MS;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SupervisedOptions) {
    this.#options = options;
    mkdirSync(options.logFolder, { recursive: true });
  }

  get logFile(): string {
    return path.join(this.#options.logFolder, `${this.#options.name}.log`);
  }

  /** Pid of the process as it is now; undefined between its death and its next start. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The first start; throws with the end of the log when the process does not become ready. */
  async start(): Promise<void> {
    await this.#launch();
  }

  async #launch(): Promise<void> {
    const begun = Date.now();
    const child = this.#fork();
    this.#child = child;
    const failure = await new Promise<string | undefined>((resolve) => {
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        resolve(`was not ready after ${READY_TIMEOUT_MS / 1000} s`);
      }, READY_TIMEOUT_MS);
      const settle = (problem?: string): void => {
        clearTimeout(timer);
        resolve(problem);
      };
      child.on("message", (message) => {
        if (message === "ready") settle();
      });
      child.once("error", (error) => settle(`could not be started: ${error.message}`));
      child.once("exit", (code, signal) => {
        if (this.#child === child) this.#child = undefined;
        settle(`ended at its start (${whyEnded(code, signal)})`);
      });
    });
    if (failure !== undefined) throw new Error(`${failure}\n${this.#lastLines()}`);

    const watch = (why: string): void => {
      if (Date.now() - begun > STEADY_MS) this.#delayMs = FIRST_DELAY_MS;
      this.#restart(`ended (${why})`);
    };
    if (child.exitCode !== null || child.signalCode !== null)
      watch(whyEnded(child.exitCode, child.signalCode));
    else child.once("exit", (code, signal) => watch(whyEnded(code, signal)));
  }

  #restart(reason: string): void {
    if (this.#stopping) return;
    const { name, note } = this.#options;
    const delay = this.#delayMs;
    this.#delayMs = Math.min(delay * 2, LONGEST_DELAY_MS);
    note(`${name} ${reason}; starting it again in ${delay / 1000} s`);
    this.#timer = setTimeout(() => {
      this.#launch().then(
        () => {
          if (!this.#stopping) note(`${name} is back`);
        },
        (error: unknown) => this.#restart(error instanceof Error ? error.message : String(error)),
      );
    }, delay);
  }

  /** Detached: a Ctrl-C for the terminal's whole group is ours to pass on, once and in order. */
  #fork(): ChildProcess {
    const log = openSync(this.logFile, logSize(this.logFile) > LOG_LIMIT_BYTES ? "w" : "a");
    try {
      const { entry, compiled, env, nodeOptions = [] } = this.#options;
      return fork(compiled === undefined ? path.join(ROOT, entry) : compiledIn(compiled, entry), [], {
        cwd: ROOT,
        env: { ...env },
        execArgv: [...nodeOptions, ...(compiled === undefined ? ["--import", "tsx"] : []), "--import", GUARD],
        detached: true,
        stdio: ["ignore", log, log, "ipc"],
      });
    } finally {
      closeSync(log);
    }
  }

  #lastLines(): string {
    return readFileSync(this.logFile, "utf8").trimEnd().split("\n").slice(-8).join("\n");
  }

  /** Ends the process: SIGTERM, and SIGKILL when it is still there after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
    await ended;
    clearTimeout(timer);
  }
}

/** For messages about a process that is gone: the signal's name, or its exit code. */
export const whyEnded = (code: number | null, signal: NodeJS.Signals | null): string =>
  signal ?? `exit code ${String(code)}`;

function logSize(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
