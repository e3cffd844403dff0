/** The whole service of one test file as it runs in earnest: api and worker as processes, spoken to over HTTP. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createDatabase } from "../../db/knex.js";
import type { Database } from "../../db/knex.js";
import { migrateToLatest } from "../../db/migrate.js";
import { CLOSED } from "../activities/realWorker.js";
import { createTestDatabase, databaseSettings } from "../support/database.js";
import { registration } from "../support/factories.js";
import { type Answer, type AnswerBody, type Client, httpClient } from "../support/http.js";
import { freePort, type RunningEntry, startEntry } from "../support/processes.js";
import { testStack } from "../support/stack.js";

export interface ServiceOptions {
  /** In place of those of the run. A PostgreSQL given here is used whole, and its schema made. */
  readonly databaseUrl?: string;
  readonly redisUrl?: string;
  readonly temporalAddress?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface ServiceUser {
  readonly id: string;
  readonly token: string;
}

export interface Service {
  /** The test's own way to the database, past every proxy. */
  readonly database: Database;
  readonly databaseUrl: string;
  readonly spoolDir: string;
  readonly apiPort: number;
  /** The api process; throws before `startApi`. */
  readonly api: RunningEntry;
  readonly taskQueue: string;
  /** Starts the api, again on the same port when it is not the first. */
  startApi(env?: Readonly<Record<string, string>>, execArgv?: readonly string[]): Promise<RunningEntry>;
  startWorker(env?: Readonly<Record<string, string>>, execArgv?: readonly string[]): Promise<RunningEntry>;
  user(): Promise<ServiceUser>;
  client(user: ServiceUser | null): Client;
  upload(user: ServiceUser, bytes: Buffer, query?: string): Promise<Answer>;
  /** Uploads and gives the id of the import; throws unless it was taken. */
  accept(user: ServiceUser, bytes: Buffer): Promise<string>;
  /** Resolves once the import has read so many records, or is closed. Faults on the way are waited out. */
  untilRead(importId: string, records: number): Promise<void>;
  /** The import once it is closed; throws after `timeoutMs`. Asks the database, which may be away. */
  closed(importId: string, timeoutMs?: number): Promise<ImportRow>;
  close(): Promise<void>;
}

export interface ImportRow {
  readonly status: string;
  readonly error_code: string | null;
  readonly workflow_id: string;
  readonly waiting_reason: string | null;
  readonly totals: AnswerBody;
}

/** Short, so that a test does not wait for what production may take its time with. */
const QUICK = {
  BCRYPT_COST: "4",
  IMPORT_BATCH_ROWS: "100",
  IMPORT_HEARTBEAT_TIMEOUT_MS: "1000",
  IMPORT_OUTAGE_RETRY_MS: "1000",
  RECONCILE_INTERVAL_MS: "500",
};

export async function createService(options: ServiceOptions = {}): Promise<Service> {
  const stack = testStack();
  const [database, databaseUrl, drop] = await openDatabase(options.databaseUrl);
  const home = await mkdtemp(path.join(tmpdir(), "playlog-fault-"));
  const apiPort = await freePort();
  const taskQueue = path.basename(home);
  const started: RunningEntry[] = [];
  let api: RunningEntry | undefined;
  const env = {
    PORT: String(apiPort),
    DATABASE_URL: databaseUrl,
    REDIS_URL: options.redisUrl ?? stack.redisUrl,
    TEMPORAL_ADDRESS: options.temporalAddress ?? stack.temporalAddress,
    TEMPORAL_TASK_QUEUE: taskQueue,
    PLAYLOG_HOME: home,
    PLAYLOG_WORKFLOW_BUNDLE: stack.workflowBundle,
    LOG_LEVEL: "info",
    ...QUICK,
    ...options.env,
  };
  const client = (user: ServiceUser | null): Client =>
    httpClient(`http://127.0.0.1:${apiPort}`, user?.token ?? null);
  const upload: Service["upload"] = (user, bytes, query = "") =>
    client(user).post(`/api/v1/imports${query}`, undefined, {
      raw: bytes,
      headers: { "content-type": "application/octet-stream" },
    });
  const row = async (importId: string): Promise<ImportRow | undefined> => {
    const found = await database.pool
      .query<ImportRow>(
        "select status, error_code, workflow_id, waiting_reason, totals from import_jobs where id = $1",
        [importId],
      )
      .catch(() => undefined);
    return found?.rows[0];
  };

  return {
    database,
    databaseUrl,
    spoolDir: path.join(home, "spool"),
    apiPort,
    taskQueue,
    get api() {
      if (api === undefined) throw new Error("the api was not started");
      return api;
    },
    async startApi(more = {}, execArgv = []) {
      api = await startEntry("api/server.ts", { ...env, ...more }, execArgv);
      started.push(api);
      return api;
    },
    async startWorker(more = {}, execArgv = []) {
      const worker = await startEntry("activities/worker.ts", { ...env, ...more }, execArgv);
      started.push(worker);
      return worker;
    },
    async user() {
      const { status, body } = await client(null).post("/api/v1/auth/register", registration());
      if (status !== 201) throw new Error(`registering was answered with ${status}`);
      return { id: body.user.id, token: body.accessToken };
    },
    client,
    upload,
    async accept(user, bytes) {
      const answer = await upload(user, bytes);
      if (answer.status !== 202) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body.id as string;
    },
    async untilRead(importId, records) {
      for (;;) {
        const found = await database.pool
          .query<{ read: number; closed: boolean }>(
            `select coalesce(sum(p.read), 0)::bigint as read, j.finished_at is not null as closed
               from import_jobs j left join import_parts p on p.job_id = j.id where j.id = $1 group by j.id`,
            [importId],
          )
          .catch(() => undefined);
        const now = found?.rows[0];
        if (now !== undefined && (now.read >= records || now.closed)) return;
        await sleep(10);
      }
    },
    async closed(importId, timeoutMs = 60_000) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        const now = await row(importId);
        if (now !== undefined && CLOSED.includes(now.status)) return now;
        if (Date.now() > deadline) {
          const said = started.map((entry) => entry.output().slice(-2000)).join("\n---\n");
          throw new Error(`the import is ${now?.status} after ${timeoutMs} ms; the processes said:\n${said}`);
        }
        await sleep(50);
      }
    },
    async close() {
      await Promise.all(started.map((entry) => entry.stop("SIGKILL")));
      await drop();
      await rm(home, { recursive: true, force: true });
    },
  };
}

async function openDatabase(
  given: string | undefined,
): Promise<readonly [database: Database, url: string, drop: () => Promise<void>]> {
  if (given === undefined) {
    const test = await createTestDatabase();
    return [test.database, test.url, () => test.drop()];
  }
  await migrateToLatest(given);
  const database = createDatabase(databaseSettings(given), { applicationName: "playlog-fault-test" });
  return [database, given, () => database.close()];
}
