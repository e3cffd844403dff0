/** The whole of playlog on this machine: the servers, the schema, the api and the worker. */
import { mkdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import pg from "pg";
import { migrateToLatest } from "../db/migrate.js";
import { compileService } from "./compile.js";
import { type Stack, cacheFolder, startStack } from "./stack.js";
import { SupervisedProcess } from "./supervisor.js";
import { freePort } from "./system.mjs";
import { cachedWorkflowBundle } from "./workflowBundle.js";

const ROOT = path.resolve(import.meta.dirname, "..");
const DEFAULT_PORT = 3000;
/** Of the metrics; taken ones move up as well. */
const OPS_PORTS = { api: 9464, worker: 9465 };
/** Tried first, so that bookmarks and psql commands keep working; taken ones move up to the next free one. */
const SERVER_PORTS = { postgres: 15_432, redis: 16_379, temporal: 17_233, temporalUi: 18_233 };
const DATABASE = "playlog";
/**
 * The collector takes all the memory it may before it works hard. With these bounds an import runs at the same speed in
 * little more than half the memory (bench/RESULTS.md); docker-compose.yml sets the same.
 */
export const WORKER_NODE_OPTIONS = ["--max-old-space-size=256", "--max-semi-space-size=16"] as const;
/** glibc keeps freed memory in up to eight places for each processor; two are enough, and hold less. The Dockerfile sets the same. */
export const ALLOCATOR = { MALLOC_ARENA_MAX: "2" } as const;
/** What the api and the worker get to finish their work in, unless SHUTDOWN_GRACE_MS says otherwise. */
const GRACE_MS = 8000;
/** They are killed so long after their grace is over. */
const KILL_MARGIN_MS = 5000;

type Environment = Readonly<Record<string, string | undefined>>;

export interface App {
  readonly url: string;
  readonly docsUrl: string;
  readonly temporalUiUrl: string | undefined;
  /** Of the api and of the worker. */
  readonly metricsUrls: readonly string[];
  readonly databaseUrl: string;
  readonly home: string;
  /** Resolves when the keeper of the servers has died: nothing can go on without it. */
  readonly broken: Promise<void>;
  stop(): Promise<void>;
}

/** Starts everything and waits until it serves. `note` gets a line for whatever dies and comes back. */
export async function startApp(
  env: Environment,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<App> {
  const home = homeOf(env);
  makeHome(home);
  const withTemporal = env["IMPORT_QUEUE"] !== "bullmq";
  const bundling = withTemporal ? cachedWorkflowBundle(cacheFolder(env)) : Promise.resolve(undefined);
  const compiling = compileService();
  for (const making of [bundling, compiling]) making.catch(() => undefined); // awaited below
  const removeCompiled = (): Promise<void> =>
    compiling.then((folder) => rm(folder, { recursive: true, force: true })).catch(() => undefined);
  const stack = await startStack({
    folder: serversOf(home),
    servers: withTemporal ? ["postgres", "redis", "temporal"] : ["postgres", "redis"],
    fsync: true,
    ports: SERVER_PORTS,
    env,
    note,
    signal,
  }).catch(async (error: unknown) => {
    await removeCompiled();
    throw error;
  });
  const processes: SupervisedProcess[] = [];
  const graceMs = Number(env["SHUTDOWN_GRACE_MS"] || GRACE_MS);
  const killAfterMs = graceMs + KILL_MARGIN_MS;
  const stop = async (): Promise<void> => {
    await Promise.all(processes.map((one) => one.stop(killAfterMs)));
    await stack.stop();
    await removeCompiled();
  };
  try {
    const databaseUrl = await playlogDatabase(stack);
    await migrateToLatest(databaseUrl);
    const bundle = await bundling;
    const compiled = await compiling;
    signal.throwIfAborted();
    const settings: Environment = {
      LOG_FORMAT: "pretty",
      ...ALLOCATOR,
      ...env,
      SHUTDOWN_GRACE_MS: String(graceMs),
      PLAYLOG_HOME: home,
      DATABASE_URL: databaseUrl,
      REDIS_URL: stack.redisUrl,
      TEMPORAL_ADDRESS: stack.temporalAddress,
      TEMPORAL_UI_URL: stack.temporalUiUrl,
      PLAYLOG_WORKFLOW_BUNDLE: bundle,
    };
    // Called off while they start: each start below then fails, and the rest is stopped as well.
    signal.addEventListener("abort", () => processes.forEach((one) => void one.stop(killAfterMs)));
    const launch = async (
      name: string,
      entry: string,
      more: Environment = {},
      nodeOptions: readonly string[] = [],
    ): Promise<void> => {
      const options = {
        name,
        entry,
        compiled,
        env: { ...settings, ...more },
        nodeOptions,
        logFolder: path.join(home, "logs"),
        note,
      };
      const one = new SupervisedProcess(options);
      processes.push(one);
      await one.start().catch((error: unknown) => {
        processes.splice(processes.indexOf(one), 1);
        throw new Error(`${name} ${(error as Error).message}`);
      });
    };
    const ports = new PortChooser(env, signal);
    const [api, worker] = await Promise.all([
      ports.launch({ PORT: DEFAULT_PORT, OPS_PORT: OPS_PORTS.api }, (chosen) =>
        launch("api", "api/server.ts", chosen),
      ),
      ports.launch({ WORKER_OPS_PORT: OPS_PORTS.worker }, (chosen) =>
        launch("worker", "activities/worker.ts", chosen, WORKER_NODE_OPTIONS),
      ),
    ]);
    const opsHost = env["OPS_HOST"] || "127.0.0.1";
    const url = env["PUBLIC_URL"] || `http://localhost:${api.PORT}`;
    return {
      url,
      docsUrl: `${url}/docs`,
      temporalUiUrl: stack.temporalUiUrl,
      metricsUrls: [api.OPS_PORT, worker.WORKER_OPS_PORT].map((port) => `http://${opsHost}:${port}/metrics`),
      databaseUrl,
      home,
      broken: stack.keeperDied,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The folder of settings, data and logs. */
export const homeOf = (env: Environment): string => path.resolve(ROOT, env["PLAYLOG_HOME"] || ".playlog");

/** Where the embedded servers keep their state. */
export const serversOf = (home: string): string => path.join(home, "servers");

function makeHome(home: string): void {
  try {
    mkdirSync(home, { recursive: true });
  } catch (error) {
    throw new Error(`PLAYLOG_HOME is ${home}, which cannot be written: ${(error as Error).message}`);
  }
}

/** A given database is used as it is; in the embedded server playlog has one of its own. */
async function playlogDatabase(stack: Stack): Promise<string> {
  if (!stack.embedded.includes("postgres")) return stack.databaseUrl;
  const client = new pg.Client({ connectionString: stack.databaseUrl });
  await client.connect();
  try {
    const { rowCount } = await client.query("select 1 from pg_database where datname = $1", [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
  return ownDatabase(stack.databaseUrl);
}

/** @param serverUrl of the embedded server */
export function ownDatabase(serverUrl: string): string {
  const url = new URL(serverUrl);
  url.pathname = `/${DATABASE}`;
  return url.href;
}

/** Ports for our processes, by the names of their settings. No two are given the same. */
class PortChooser {
  readonly #env: Environment;
  readonly #signal: AbortSignal;
  readonly #taken = new Set<number>();
  #choosing: Promise<unknown> = Promise.resolve();

  constructor(env: Environment, signal: AbortSignal) {
    this.#env = env;
    this.#signal = signal;
  }

  /**
   * Calls `launch` with a port for each setting and returns them. One that was asked for is taken as it is, also when
   * that fails; the defaults move up when they are in use, or are taken by another program meanwhile.
   */
  async launch<Name extends string>(
    defaults: Readonly<Record<Name, number>>,
    launch: (chosen: Readonly<Record<Name, string>>) => Promise<void>,
  ): Promise<Record<Name, string>> {
    for (let attempt = 1; ; attempt += 1) {
      const chosen = await this.#choose(defaults);
      try {
        await launch(chosen);
        return chosen;
      } catch (error) {
        if (!(await this.#lost(chosen)) || this.#signal.aborted || attempt === 5) throw error;
      }
    }
  }

  /** One after the other, so that each sees what the others took. */
  #choose<Name extends string>(defaults: Readonly<Record<Name, number>>): Promise<Record<Name, string>> {
    const choice = this.#choosing.then(async () => {
      const chosen: [string, string][] = [];
      for (const [name, wanted] of Object.entries<number>(defaults))
        chosen.push([name, this.#env[name] || String(await freePort(wanted, this.#taken))]);
      return Object.fromEntries(chosen) as Record<Name, string>;
    });
    this.#choosing = choice.catch(() => undefined);
    return choice;
  }

  /** Whether somebody else listens by now on a port that was free. */
  async #lost(chosen: Readonly<Record<string, string>>): Promise<boolean> {
    for (const [name, port] of Object.entries(chosen))
      if (!this.#env[name] && (await freePort(Number(port))) !== Number(port)) return true;
    return false;
  }
}
