/** The whole of playlog for a benchmark: a database of its own, an api and a worker. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { migrateToLatest } from "../../db/migrate.js";
import { ALLOCATOR, WORKER_NODE_OPTIONS } from "../../dev/app.js";
import { freePort, startEntry, type RunningEntry } from "../../test/support/processes.js";
import { BenchClient } from "./client.js";
import { scratchFolder } from "./scratch.js";

export interface ProductOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Added to what `npm start` gives the worker. */
  readonly workerOptions?: readonly string[];
  readonly apiOptions?: readonly string[];
}

export interface Product {
  readonly base: string;
  readonly databaseUrl: string;
  readonly api: RunningEntry;
  readonly worker: RunningEntry;
  /** A connection to the database as its owner. */
  readonly admin: pg.Client;
  readonly client: BenchClient;
  /** A number that the api's /metrics has under this name. */
  readonly apiMetric: (name: string) => Promise<number>;
  /** Empties history and catalogue and the imports, and leaves accounts. */
  empty(): Promise<void>;
  /**
   * Waits until the worker has nothing left to do for what was imported, and keeps it from counting popularity anew in
   * the next minute. Gives how many seconds it took until every name could be found.
   */
  quiet(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts it against the servers named in the environment, as `npm start` would; `stop` leaves nothing behind. */
export async function startProduct(options: ProductOptions = {}): Promise<Product> {
  const home = scratchFolder();
  const undo: (() => unknown)[] = [home.remove];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    const database = await createDatabase();
    undo.push(database.drop);
    const port = await freePort();
    const opsPort = await freePort();
    const env = {
      DATABASE_URL: database.url,
      PLAYLOG_HOME: home.path,
      PORT: String(port),
      TEMPORAL_TASK_QUEUE: `bench-${process.pid}-${port}`,
      LOG_LEVEL: "warn",
      ...ALLOCATOR,
      ...options.env,
    };
    const worker = await startEntry("activities/worker.ts", env, [
      ...WORKER_NODE_OPTIONS,
      ...(options.workerOptions ?? []),
    ]);
    undo.push(() => worker.stop());
    const api = await startEntry(
      "api/server.ts",
      { ...env, OPS_PORT: String(opsPort) },
      options.apiOptions ?? [],
    );
    undo.push(() => api.stop());
    const base = `http://127.0.0.1:${port}`;
    const client = await BenchClient.register(base, "bench");
    const { admin } = database;
    return {
      base,
      databaseUrl: database.url,
      api,
      worker,
      admin,
      client,
      apiMetric: (name) => metric(`http://127.0.0.1:${opsPort}/metrics`, name),
      empty: () => emptyTables(admin),
      quiet: () => untilQuiet(admin),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function metric(address: string, name: string): Promise<number> {
  const text = await (await fetch(address)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1] ?? Number.NaN);
}

const DEADLOCK = "40P01";
const MOST_TRIES = 5;

async function emptyTables(admin: pg.Client): Promise<void> {
  const truncate = `truncate listening_history, tracks, albums, artists, external_ids, album_tracks, track_artists, import_jobs,
       search_documents, search_words, search_changes cascade`;
  // It locks the tables one by one, and so may meet a pass of the worker's upkeep that began just now.
  for (let tries = 1; ; tries += 1) {
    try {
      await admin.query(truncate);
      break;
    } catch (error) {
      if (!(error instanceof pg.DatabaseError && error.code === DEADLOCK && tries < MOST_TRIES)) throw error;
    }
  }
  await admin.query("update search_tiers set min_popularity = 2147483647, max_id = 0");
  await admin.query("insert into artists (name, name_key) values ('[unknown]', '[unknown]')");
}

const QUIET_POLL_MS = 100;
const QUIET_TIMEOUT_MS = 5 * 60_000;

async function untilQuiet(admin: pg.Client): Promise<number> {
  const begun = performance.now();
  const until = async (what: string, question: string, values: readonly unknown[] = []): Promise<void> => {
    while ((await admin.query(question, [...values])).rowCount !== 0) {
      if (performance.now() - begun > QUIET_TIMEOUT_MS) throw new Error(`${what} did not end`);
      await sleep(QUIET_POLL_MS);
    }
  };
  await until("the indexing of names", "select from search_changes limit 1");
  const seconds = (performance.now() - begun) / 1000;
  // However long they took the last time: they are made at once.
  await admin.query("update stats_users set build_ms = 0");
  await until(
    "the making of statistics",
    `select from cache_versions v left join stats_users s on s.user_id = v.owner
      where v.topic = 'history' and v.version is distinct from s.history_version and exists (select from users where id = v.owner)`,
  );
  const { searchIndex, statistics, popularity } = ADVISORY_LOCKS;
  await until(
    "a pass of upkeep",
    "select from pg_locks where locktype = 'advisory' and objid = any($1::oid[])",
    [[searchIndex, statistics, popularity]],
  );
  await admin.query("update popularity_state set finished_at = now() + interval '1 minute', took_ms = 0");
  return seconds;
}

async function createDatabase(): Promise<{ url: string; admin: pg.Client; drop: () => Promise<void> }> {
  const server = process.env["DATABASE_URL"];
  if (!server) throw new Error("DATABASE_URL is not set: run this through `npm run bench -- NAME`");
  const name = `playlog_bench_${process.pid}`;
  const owner = await connect(server);
  await owner.query(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  await migrateToLatest(url.href);
  const admin = await connect(url.href);
  return {
    url: url.href,
    admin,
    drop: async () => {
      await admin.end();
      await owner.query(`drop database ${name} with (force)`);
      await owner.end();
    },
  };
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString });
  client.on("error", () => undefined); // the bench was told to end, and its servers went first
  await client.connect();
  return client;
}
