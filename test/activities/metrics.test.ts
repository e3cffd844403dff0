import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { json, play, plays, podcast } from "../services/import/importing.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { freePort } from "../support/processes.js";
import { scrape, type Scrape } from "../support/scrape.js";
import { startTcpProxy } from "../support/tcpProxy.js";
import { insertUser } from "../support/users.js";
import { zip } from "../support/zip.js";
import { createRealWorker, type RealWorker } from "./realWorker.js";

/** 305 records: 230 plays, 70 again in the same upload, 3 podcasts, 2 that cannot be read; in 4 batches of two files. */
const UPLOAD = zip([
  { name: "a.json", data: json([...plays(200), ...plays(70), podcast(1), podcast(2), podcast(3)]) },
  { name: "b.json", data: json([...plays(30, 200), { ...play(1), ts: "?" }, { ...play(2), ts: "?" }]) },
]);

describe("the metrics of a worker", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let real: RealWorker;
  let port: number;

  beforeEach(async () => {
    db = await createTestDatabase();
    port = await freePort();
  });
  afterEach(async () => {
    await real.close();
    await db.drop();
  });

  const until = async (what: string, found: (now: Scrape) => boolean): Promise<Scrape> => {
    for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
      const now = await scrape(port);
      if (found(now)) return now;
      if (Date.now() > deadline) throw new Error(`not in time: ${what}\n${now.text}`);
    }
  };
  const closed = (now: Scrape): Record<string, number> => now.by("status", "playlog_imports_closed_total");

  it("change by exactly what was imported, and name nobody", async () => {
    real = await createRealWorker(db);
    await real.start({ WORKER_OPS_PORT: String(port) });
    const before = await scrape(port);
    expect(closed(before)).to.deep.equal({});
    // There before anything happened: a rate of a series that begins with its first failure misses it.
    expect(before.value("playlog_imports_closed_total", { code: "storage_lost" })).to.equal(0);
    expect(before.value("playlog_import_rows_total", { reason: "database" })).to.equal(0);
    expect(before.value("playlog_import_lost_attempts_total", { format: "spotify-extended" })).to.equal(0);

    const user = await insertUser(db.database.pool);
    const { id } = await real.accept(user, UPLOAD, "secret name.zip");
    const job = await real.settled(user, id);
    expect(job.counts).to.deep.include({ read: 305, inserted: 230, duplicate: 70, skipped: 3, rejected: 2 });
    const now = await until("the end of the import", (found) => closed(found)["completed_with_errors"] === 1);

    const rows = { format: "spotify-extended", dry_run: "false" };
    expect(now.by("verdict", "playlog_import_rows_total", rows)).to.deep.equal({
      inserted: 230,
      duplicate: 70,
      skipped: 3,
      rejected: 2,
    });
    expect(now.by("reason", "playlog_import_rows_total", rows)).to.deep.equal({
      "": 230,
      same_row: 70,
      podcast: 3,
      bad_time: 2,
    });
    expect(now.value("playlog_import_batch_seconds_count")).to.equal(4);
    expect(closed(now)).to.deep.equal({ completed_with_errors: 1 });
    expect(now.value("playlog_import_queue_wait_seconds_count", { kind: "file" })).to.equal(1);
    expect(now.value("playlog_import_seconds_count", { status: "completed_with_errors" })).to.equal(1);
    expect(now.by("status", "playlog_import_parts_total")).to.deep.equal({ done: 2 });
    const ended = now.by("activity", "playlog_activity_seconds_count", { outcome: "ok" });
    expect(ended).to.deep.include({ prepare: 1, importPart: 2, finish: 1 });

    for (const personal of [user, id, "secret", "Artist", "a.json"])
      expect(now.text).to.not.include(personal);
  });

  it("hold what the SDK measures, the process, the pools, the uploads and the reconciler", async () => {
    real = await createRealWorker(db);
    await real.start({ WORKER_OPS_PORT: String(port) });
    const user = await insertUser(db.database.pool);
    await real.settled(user, (await real.accept(user, json(plays(5)))).id);
    const now = await until(
      "a pass",
      (found) => (found.value("playlog_reconciler_last_pass_timestamp_seconds") ?? 0) > 0,
    );
    expect(now.value("temporal_activity_schedule_to_start_latency_seconds_count")).to.be.greaterThan(2);
    const { taskQueue } = real;
    const slots = { worker_type: "ActivityWorker", task_queue: taskQueue };
    expect(now.value("temporal_worker_task_slots_available", slots)).to.equal(3);
    expect(now.value("process_resident_memory_bytes")).to.be.greaterThan(1e7);
    expect(now.names).to.include("nodejs_eventloop_lag_p99_seconds");
    expect(now.value("playlog_pool_max", { pool: "pg" })).to.be.greaterThan(1);
    expect(now.value("playlog_reconciler_passes_total", { outcome: "acted" })).to.be.greaterThan(0);
    expect(now.value("playlog_spool_files")).to.equal(1);
    expect(now.value("playlog_spool_bytes")).to.equal(json(plays(5)).length);
    expect(now.value("playlog_spool_free_bytes")).to.be.greaterThan(0);
    const series = now.samples.map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`);
    expect(new Set(series).size, "each series once").to.equal(series.length);
  });

  it("show imports that wait for a worker, and their age", async () => {
    real = await createRealWorker(db);
    const user = await insertUser(db.database.pool);
    await db.database.pool.query(
      `insert into import_jobs (id, user_id, kind, size_bytes, sha256, options_hash, batch_rows, workflow_id, created_at, next_start_at)
       values (gen_random_uuid(), $1, 'file', 1, sha256('a'), sha256('b'), 10, 'import-of-nobody', now() - interval '1 hour', now() + interval '1 day')`,
      [user],
    );
    await real.start({ WORKER_OPS_PORT: String(port) });
    const now = await scrape(port);
    expect(now.by("status", "playlog_imports_open")).to.deep.equal({ queued: 1 });
    expect(now.value("playlog_imports_open", { status: "running" })).to.equal(0);
    expect(now.value("playlog_import_oldest_queued_seconds")).to.be.within(3600, 3700);
    expect(now.value("playlog_import_longest_stalled_seconds")).to.equal(0);
  });

  it("are still there while the database is not, and so is the health, which says so", async () => {
    const proxy = await startTcpProxy(db.url);
    real = await createRealWorker(db, { databaseUrl: proxy.through(db.url) });
    const worker = await real.start({ WORKER_OPS_PORT: String(port) });
    const health = async () => {
      const response = await fetch(`http://127.0.0.1:${port}/health`);
      return { status: response.status, body: (await response.json()) as object };
    };
    expect(await health()).to.deep.equal({
      status: 200,
      body: { ok: true, worker: "RUNNING", polling: true, temporal: true, database: true },
    });

    await proxy.refuse();
    const away = await until("the outage", (now) => now.value("playlog_database_up") === 0);
    expect(away.value("playlog_imports_open")).to.equal(undefined);
    expect(away.value("playlog_pool_max")).to.be.greaterThan(0);
    expect(await health()).to.deep.equal({
      status: 503,
      body: { ok: false, worker: "RUNNING", polling: true, temporal: true, database: false },
    });

    await proxy.accept();
    await until("the end of the outage", (now) => now.value("playlog_database_up") === 1);
    await worker.stop();
    await proxy.close();
  });

  it("end the start with one sentence when their port is taken", async () => {
    real = await createRealWorker(db);
    const other = createServer().listen(port, "127.0.0.1");
    await once(other, "listening");
    try {
      const failed = await real
        .start({ WORKER_OPS_PORT: String(port) })
        .catch((error: Error) => error.message);
      expect(failed).to.include(
        `ended with 1 before it was ready:\nWORKER_OPS_PORT: 127.0.0.1:${port} cannot be used, another program listens there`,
      );
    } finally {
      other.close();
    }
  });
});
