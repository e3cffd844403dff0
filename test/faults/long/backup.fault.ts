import { execFile } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { expect } from "chai";
import pg from "pg";
import { createDatabase } from "../../../db/knex.js";
import { findPostgresClients } from "../../../dev/programs.mjs";
import { cacheFolder } from "../../../dev/stack.js";
import { createBench, digestOf, json, plays, podcast } from "../../services/import/importing.js";
import { createTestDatabase, databaseSettings, type TestDatabase } from "../../support/database.js";
import { registration } from "../../support/factories.js";
import { httpClient, type Client } from "../../support/http.js";
import { freePort, type RunningEntry, startEntry } from "../../support/processes.js";
import { type OwnServer, startPostgres, startTemporal } from "../../support/servers.js";
import { testStack } from "../../support/stack.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";

const run = promisify(execFile);

/** 3,102 records in 32 batches of two files, with repeats inside and across them. */
const UPLOAD = zip([
  { name: "a.json", data: json([...plays(1500), ...plays(100, 900), podcast(1)]) },
  { name: "b.json", data: json([...plays(1500, 1200), podcast(2)]) },
]);

describe("a backup", function () {
  this.timeout(120_000);
  let clients: NonNullable<Awaited<ReturnType<typeof findPostgresClients>>>;
  let source: TestDatabase;
  let home: string;
  const running: RunningEntry[] = [];
  const servers: OwnServer[] = [];

  before(async function () {
    const found = await findPostgresClients({ cache: cacheFolder(process.env), note: () => undefined });
    if (found === undefined) {
      console.log("    skipped: there is no pg_dump 18 here, and none could be fetched");
      this.skip();
    }
    clients = found;
    source = await createTestDatabase();
    home = await mkdtemp(path.join(tmpdir(), "playlog-backup-"));
  });
  after(async () => {
    await Promise.all(running.map((one) => one.stop("SIGKILL")));
    await Promise.all(servers.map((one) => one.close()));
    await source?.drop();
    if (home !== undefined) await rm(home, { recursive: true, force: true });
  });

  interface Place {
    readonly home: string;
    readonly databaseUrl: string;
    readonly temporalAddress: string;
  }
  const settings = ({ home: at, databaseUrl, temporalAddress }: Place): Record<string, string> => ({
    PLAYLOG_HOME: at,
    DATABASE_URL: databaseUrl,
    REDIS_URL: testStack().redisUrl,
    TEMPORAL_ADDRESS: temporalAddress,
    TEMPORAL_TASK_QUEUE: path.basename(at),
    PLAYLOG_WORKFLOW_BUNDLE: testStack().workflowBundle,
    BCRYPT_COST: "4",
    IMPORT_BATCH_ROWS: "100",
    RECONCILE_INTERVAL_MS: "300",
  });
  const startApi = async (place: Place): Promise<{ client: (token: string | null) => Client }> => {
    const port = await freePort();
    running.push(await startEntry("api/server.ts", { ...settings(place), PORT: String(port) }));
    return { client: (token) => httpClient(`http://127.0.0.1:${port}`, token) };
  };
  const startWorker = async (place: Place, env: Record<string, string> = {}): Promise<RunningEntry> => {
    const worker = await startEntry("activities/worker.ts", { ...settings(place), ...env });
    running.push(worker);
    return worker;
  };
  const upload = async (client: Client): Promise<string> => {
    const { status, body } = await client.post("/api/v1/imports", undefined, {
      raw: UPLOAD,
      headers: { "content-type": "application/zip" },
    });
    expect(status).to.equal(202);
    return body.id as string;
  };
  const register = async (client: Client): Promise<{ id: string; token: string }> => {
    const { status, body } = await client.post("/api/v1/auth/register", registration());
    expect(status).to.equal(201);
    return { id: body.user.id as string, token: body.accessToken as string };
  };

  it("of a running import, restored beside an empty Temporal, finishes it with the rows of an undisturbed one", async () => {
    const bench = await createBench(source.database.pool);
    const undisturbed = await insertUser(source.database.pool);
    expect(await bench.run(await bench.job(undisturbed, UPLOAD, { filename: "export.zip" }))).to.equal(
      "completed",
    );
    await bench.close();
    const expected = await digestOf(source.database.pool, undisturbed);
    expect(expected.rows).to.equal(2700);

    const old: Place = {
      home: path.join(home, "old"),
      databaseUrl: source.url,
      temporalAddress: testStack().temporalAddress,
    };
    const oldApi = await startApi(old);
    const [one, two] = [await register(oldApi.client(null)), await register(oldApi.client(null))];
    const doomed = await startWorker(old, { PLAYLOG_KILL_AT: "1:7:after-commit" });
    const halfWay = await upload(oldApi.client(one.token));
    await once(doomed.child, "exit");
    const notBegun = await upload(oldApi.client(two.token));

    // As in docs/OPERATIONS.md: the database first, then the uploads and the signing secret.
    const dump = path.join(home, "playlog.dump");
    await run(clients.pgDump, ["--format=custom", "--no-owner", `--file=${dump}`, `--dbname=${source.url}`]);
    await cp(old.home, path.join(home, "new"), { recursive: true });
    await Promise.all(running.splice(0).map((process) => process.stop("SIGKILL")));

    const [postgres, temporal] = await Promise.all([startPostgres(), startTemporal()]);
    servers.push(postgres, temporal);
    const restored = await createPlaylogDatabase(postgres.url);
    await run(clients.pgRestore, ["--no-owner", "--exit-on-error", `--dbname=${restored}`, dump]);
    const fresh: Place = {
      home: path.join(home, "new"),
      databaseUrl: restored,
      temporalAddress: temporal.url,
    };
    const database = createDatabase(databaseSettings(restored), { applicationName: "playlog-test" });
    const { pool } = database;
    try {
      const before = await pool.query<{ id: string; status: string; batches: number }>(
        `select id, status::text, (select count(*)::int from import_batches where job_id = j.id) as batches
           from import_jobs j where user_id = any($1) order by created_at`,
        [[one.id, two.id]],
      );
      expect(before.rows.map(({ id, status }) => [id, status])).to.deep.equal([
        [halfWay, "running"],
        [notBegun, "queued"],
      ]);
      expect(before.rows[0]?.batches).to.be.within(8, 31);
      expect((await digestOf(pool, one.id)).rows).to.be.within(1, expected.rows - 1);

      const newApi = await startApi(fresh);
      await startWorker(fresh);
      for (const [user, id] of [
        [one, halfWay],
        [two, notBegun],
      ] as const) {
        // The token was given by the old api: secret and session came along.
        const job = await closed(newApi.client(user.token), id);
        expect(job).to.deep.include({ status: "completed", error: null });
        expect(job.counts).to.deep.include({
          read: 3102,
          inserted: 2700,
          duplicate: 400,
          skipped: 2,
          rejected: 0,
        });
        expect(await digestOf(pool, user.id)).to.deep.equal(expected);
      }
    } finally {
      await database.close();
    }
  });
});

async function closed(client: Client, id: string) {
  for (const deadline = Date.now() + 60_000; ; await sleep(50)) {
    const { status, body } = await client.get(`/api/v1/imports/${id}`);
    expect(status).to.equal(200);
    if (body.finishedAt !== null) return body;
    if (Date.now() > deadline) throw new Error(`the import is ${body.status} still`);
  }
}

async function createPlaylogDatabase(serverUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  await client.query("create database playlog template template0");
  await client.end();
  const url = new URL(serverUrl);
  url.pathname = "/playlog";
  return url.href;
}
