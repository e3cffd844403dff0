import { randomUUID } from "node:crypto";
import { readdir, utimes } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import type pg from "pg";
import { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import { deleteOrphanedUploads } from "../../../services/import/orphanedUploads.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import { reconcile } from "../../../services/import/reconciler.js";
import type { ReconcilerDependencies } from "../../../services/import/reconciler.js";
import { importWorkflowId } from "../../../workflows/contracts.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { freePort } from "../../support/processes.js";
import { testStack } from "../../support/stack.js";
import { insertUser } from "../../support/users.js";
import { createBench, json, plays, quietLog } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("the reconciler", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let queue: TemporalImportQueue;
  let away: TemporalImportQueue;
  let connection: Connection;

  const queueAt = (address: string): TemporalImportQueue =>
    new TemporalImportQueue({
      address,
      namespace: "default",
      taskQueue: `nobody-${randomUUID()}`, // no worker: what is started stays open
      parallelParts: 2,
      heartbeatTimeoutMs: 5000,
      log: quietLog,
    });

  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    const { temporalAddress } = testStack();
    queue = queueAt(temporalAddress);
    away = queueAt(`127.0.0.1:${await freePort()}`);
    connection = await Connection.connect({ address: temporalAddress });
  });
  after(async () => {
    await Promise.all([queue.close(), away.close(), connection.close()]);
    await bench.close();
    await db.drop();
  });

  const pool = (): pg.Pool => db.database.pool;
  const pass = (over: Partial<ReconcilerDependencies> = {}) =>
    reconcile({
      pool: pool(),
      queue,
      blobs: bench.blobs,
      log: quietLog,
      blobKeepDays: 7,
      observer: NO_OBSERVER,
      ...over,
    });
  const newJob = async (set = "status = status"): Promise<string> => {
    const id = await bench.job(await insertUser(pool()), json(plays(3)));
    await pool().query(`update import_jobs set ${set} where id = $1`, [id]);
    return id;
  };
  const jobRow = async (id: string) =>
    (
      await pool().query<{
        status: string;
        error_code: string | null;
        start_attempts: number;
        blob_key: string | null;
      }>("select status, error_code, start_attempts, blob_key from import_jobs where id = $1", [id])
    ).rows[0]!;
  const stateOf = (id: string) => queue.inspect({ kind: "import", importId: id, attempt: 1 });
  const enqueue = (id: string) =>
    queue.enqueue({ kind: "import", importId: id, attempt: 1, userId: "u", provider: null, jobKind: "file" });
  const handle = (id: string) => new Client({ connection }).workflow.getHandle(importWorkflowId(id, 1));

  afterEach(() => pool().query("delete from users"));

  it("starts what nobody could start, once its time has come and the queue is back", async () => {
    const due = await newJob("next_start_at = now() - interval '1 second'");
    const later = await newJob("next_start_at = now() + interval '1 hour'");

    expect(await pass({ queue: away })).to.include({ acted: true, started: 0 });
    expect(await jobRow(due)).to.include({ status: "queued", start_attempts: 1 });
    expect(await pass()).to.include({ started: 0 }); // it waits a while before the next try
    await pool().query("update import_jobs set next_start_at = now() where id = $1", [due]);
    expect(await pass()).to.include({ started: 1 });

    expect(await stateOf(due)).to.equal("open");
    expect(await stateOf(later)).to.equal("missing");
    expect(await jobRow(later)).to.include({ start_attempts: 0 });
  });

  it("waits no longer for the twentieth try than for the first: a queue that is back must not be waited for", async () => {
    const id = await newJob("next_start_at = now(), start_attempts = 20");
    await pass({ queue: away });
    const { rows } = await pool().query<{ seconds: number }>(
      "select extract(epoch from next_start_at - now())::float8 as seconds from import_jobs where id = $1",
      [id],
    );
    expect(rows[0]?.seconds).to.be.within(0, 10);
  });

  it("does not start a job that was cancelled meanwhile", async () => {
    const id = await newJob("status = 'cancelled', next_start_at = now() - interval '1 hour'");
    await pass();
    expect(await stateOf(id)).to.equal("missing");
  });

  it("closes a job whose workflow somebody terminated, as stopped by an operator", async () => {
    const [running, queued] = [await newJob(), await newJob("next_start_at = now()")];
    await enqueue(running);
    await enqueue(queued);
    await bench.steps.prepare({ importId: running, attempt: 1 }, bench.context());
    expect(await pass()).to.include({ repaired: 0 });
    await handle(running).terminate("test");
    await handle(queued).terminate("test");
    await pool().query("update import_jobs set next_start_at = now() where id = $1", [queued]);

    await pass();

    expect(await jobRow(running)).to.include({ status: "failed", error_code: "stopped_by_operator" });
    expect(await jobRow(queued)).to.include({ status: "failed", error_code: "stopped_by_operator" });
  });

  it("starts a running job again that the queue has lost; its steps go on where the batches end", async () => {
    const id = await newJob();
    await bench.steps.prepare({ importId: id, attempt: 1 }, bench.context());
    expect(await stateOf(id)).to.equal("missing");
    expect(await pass()).to.include({ repaired: 1 });
    expect(await stateOf(id)).to.equal("open");
    expect(await bench.run(id)).to.equal("completed");
  });

  it("asks again to cancel, and closes what has nothing left to cancel", async () => {
    const [open, gone] = [await newJob(), await newJob()];
    await enqueue(open);
    await pool().query("update import_jobs set status = 'cancelling' where id in ($1, $2)", [open, gone]);
    expect(await pass()).to.include({ cancelled: 1 });
    expect(await jobRow(gone)).to.include({ status: "cancelled" });
    expect(await jobRow(open)).to.include({ status: "cancelling" });
    const events = (await handle(open).fetchHistory()).events ?? [];
    expect(events.some((event) => event.workflowExecutionCancelRequestedEventAttributes != null)).to.equal(
      true,
    );
  });

  it("deletes uploads whose time is over, and only those", async () => {
    const [old, kept, open] = [
      await newJob("status = 'failed', blob_delete_after = now() - interval '1 second'"),
      await newJob("status = 'failed', blob_delete_after = now() + interval '1 day'"),
      await newJob("blob_delete_after = now() - interval '1 day', next_start_at = now() + interval '1 day'"),
    ];
    const before = (await readdir(bench.spoolDir)).length;
    expect(await pass({ queue: away })).to.include({ blobsDeleted: 1 });
    expect((await readdir(bench.spoolDir)).length).to.equal(before - 1);
    expect((await jobRow(old)).blob_key).to.equal(null);
    expect((await jobRow(kept)).blob_key).to.be.a("string");
    expect((await jobRow(open)).blob_key).to.be.a("string");
  });

  it("deletes stored uploads that no import names, once no import can come to name them any more", async () => {
    const stored = async (): Promise<string> =>
      (await bench.blobs.put(Readable.from([Buffer.from("[]")]), { maxBytes: 10 })).key;
    const age = async (key: string, hours: number): Promise<void> => {
      const at = new Date(Date.now() - hours * 3_600_000);
      await utimes(path.join(bench.spoolDir, key), at, at);
    };
    const [orphan, young] = [await stored(), await stored()];
    const named = (await jobRow(await newJob("next_start_at = now() + interval '1 day'"))).blob_key!;
    const erased = (await jobRow(await newJob())).blob_key!;
    await pool().query("delete from users where id = (select user_id from import_jobs where blob_key = $1)", [
      erased,
    ]);
    for (const key of [orphan, named, erased]) await age(key, 7);
    await age(young, 5);

    await deleteOrphanedUploads({ pool: pool(), blobs: bench.blobs, log: quietLog });

    const left = await readdir(bench.spoolDir);
    expect(left).to.include.members([young, named]);
    expect(left).not.to.include(orphan).and.not.to.include(erased);
  });

  it("forgets answers kept for Idempotency-Keys after a day", async () => {
    const user = await insertUser(pool());
    await pool().query(
      `insert into idempotency_keys (user_id, key, request_hash, created_at)
       values ($1, 'old', 'x', now() - interval '25 hours'), ($1, 'new', 'x', now() - interval '23 hours')`,
      [user],
    );
    await pass();
    const left = await pool().query("select key from idempotency_keys where user_id = $1", [user]);
    expect(left.rows).to.deep.equal([{ key: "new" }]);
  });

  it("lets one process act at a time", async () => {
    await newJob("next_start_at = now()");
    const passes = await Promise.all([pass(), pass(), pass()]);
    expect(passes.reduce((sum, result) => sum + result.started, 0)).to.equal(1);
    expect((await pass()).acted).to.equal(true);
  });
});
