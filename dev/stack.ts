/**
 * The parent's side of the embedded servers: forks the keeper and speaks with it. `npm start`, the tests and
 * the benches all get their PostgreSQL, Redis and Temporal through here.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readRecord } from "./home.mjs";
import { whyEnded } from "./supervisor.js";
import { endProcess } from "./system.mjs";

const ROOT = path.resolve(import.meta.dirname, "..");
const READY_TIMEOUT_MS = 290_000; // a first run fetches 50 MB
const STOP_TIMEOUT_MS = 14_000;

export type ServerName = "postgres" | "redis" | "temporal";

/** Where the servers answer, empty for one that is not used; `temporalUiUrl` is unknown for a Temporal that was given. */
export interface StackAddresses {
  /** Embedded: a superuser's URL of the database `postgres`. */
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly temporalAddress: string;
  readonly temporalUiUrl: string | undefined;
}

export interface StackOptions {
  /** Where state is kept between runs; absent: a temporary folder, removed at the end. */
  readonly folder?: string;
  /** All three unless said otherwise. */
  readonly servers?: readonly ServerName[];
  /** False lets PostgreSQL skip flushing to disk: right for tests, wrong for data and for measurements. */
  readonly fsync: boolean;
  /** Ports to try first; absent: random free ones. */
  readonly ports?: Partial<Record<ServerName | "temporalUi", number>>;
  /** DATABASE_URL, REDIS_URL and TEMPORAL_ADDRESS in here are used, and those servers not embedded. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Told in one line what is being fetched, or which server ended and came back. */
  readonly note: (text: string) => void;
  /** Gives the start up and ends what was started so far. */
  readonly signal?: AbortSignal;
}

export interface Stack extends StackAddresses {
  readonly folder: string;
  readonly embedded: readonly ServerName[];
  /** Pid of the keeper, which owns the servers. */
  readonly keeperPid: number;
  /** Resolves when the keeper has ended without having been asked to. */
  readonly keeperDied: Promise<void>;
  /** Ends the servers; resolves when no process and no temporary folder is left. */
  stop(): Promise<void>;
}

/** Downloaded programs: in the clone, or shared between clones where XDG_CACHE_HOME is set. */
export function cacheFolder(env: StackOptions["env"]): string {
  const shared = env["XDG_CACHE_HOME"];
  if (shared !== undefined && shared !== "") return path.join(path.resolve(shared), "playlog");
  return path.join(ROOT, ".playlog", "cache");
}

type KeeperMessage =
  | { readonly type: "note"; readonly text: string }
  | { readonly type: "failed"; readonly message: string }
  | { readonly type: "ready"; readonly addresses: Partial<StackAddresses> };

/** Starts what is not given and waits until everything answers. Throws with a sentence for the user. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const given = {
    postgres: setting(options.env, "DATABASE_URL"),
    redis: setting(options.env, "REDIS_URL"),
    temporal: setting(options.env, "TEMPORAL_ADDRESS"),
  };
  const names = options.servers ?? (["postgres", "redis", "temporal"] as const);
  const embedded = names.filter((name) => given[name] === undefined);
  const throwaway = options.folder === undefined;
  const folder = path.resolve(options.folder ?? mkdtempSync(path.join(tmpdir(), "playlog-stack-")));
  const keeper = forkKeeper({
    folder,
    throwaway,
    cache: cacheFolder(options.env),
    embed: embedded,
    fsync: options.fsync,
    ports: options.ports,
  });
  const ended = new Promise<void>((resolve) => keeper.once("exit", () => resolve()));
  let stopAsked = false;

  const removeFolder = (): void => {
    if (throwaway) rmSync(folder, { recursive: true, force: true });
  };
  const stop = async (): Promise<void> => {
    stopAsked = true;
    if (keeper.connected) keeper.send({ type: "stop" });
    const timer = setTimeout(() => keeper.kill("SIGKILL"), STOP_TIMEOUT_MS);
    keeper.ref();
    await ended;
    clearTimeout(timer);
    removeFolder();
  };

  try {
    const addresses = await firstAnswer(keeper, options);
    // From here on the keeper alone keeps nobody waiting; its channel still ends it with this process.
    keeper.unref();
    keeper.channel?.unref();
    return {
      databaseUrl: given.postgres ?? addresses.databaseUrl ?? "",
      redisUrl: given.redis ?? addresses.redisUrl ?? "",
      temporalAddress: given.temporal ?? addresses.temporalAddress ?? "",
      temporalUiUrl: addresses.temporalUiUrl ?? setting(options.env, "TEMPORAL_UI_URL"),
      folder,
      embedded,
      keeperPid: keeper.pid ?? 0,
      keeperDied: new Promise((resolve) => {
        void ended.then(async () => {
          if (stopAsked) return;
          // Where the kernel does not end the servers together with their keeper, this does.
          const left = (await readRecord(folder))?.servers ?? [];
          await Promise.all(left.map((server) => endProcess(server, STOP_TIMEOUT_MS / 2)));
          resolve();
        });
      }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

const setting = (env: StackOptions["env"], name: string): string | undefined => env[name] || undefined;

/** Detached: Ctrl-C goes to the terminal's whole group and would stop PostgreSQL while the app drains. */
function forkKeeper(settings: object): ChildProcess {
  return fork(fileURLToPath(new URL("keeper.mjs", import.meta.url)), [JSON.stringify(settings)], {
    detached: true,
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
}

function firstAnswer(
  keeper: ChildProcess,
  { note, signal }: Pick<StackOptions, "note" | "signal">,
): Promise<Partial<StackAddresses>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the servers were not ready after ${READY_TIMEOUT_MS / 1000} s`)),
      READY_TIMEOUT_MS,
    );
    const settle = (act: () => void): void => {
      clearTimeout(timer);
      act();
    };
    signal?.addEventListener("abort", () => settle(() => reject(new Error("the start was called off"))));
    keeper.once("error", (error) => settle(() => reject(error)));
    keeper.once("exit", (code, signal) =>
      settle(() =>
        reject(new Error(`the keeper of the servers ended at its start (${whyEnded(code, signal)})`)),
      ),
    );
    keeper.on("message", (message: KeeperMessage) => {
      if (message.type === "note") note(message.text);
      if (message.type === "failed") settle(() => reject(new Error(message.message)));
      if (message.type === "ready") settle(() => resolve(message.addresses));
    });
  });
}
