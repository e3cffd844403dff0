import { mkdir, readdir, rm, utimes } from "node:fs/promises";
import path from "node:path";
import { PassThrough, Readable } from "node:stream";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import type pg from "pg";
import { USER_PLAYS_LOCK } from "../../../db/advisoryLocks.js";
import type { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import { deleteOrphanedUploads } from "../../../services/import/orphanedUploads.js";
import { JobClosedError } from "../../../services/import/jobs.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import { closeLateCancels, reconcile } from "../../../services/import/reconciler.js";
import type { ReconcilerDependencies } from "../../../services/import/reconciler.js";
import { importWorkflowId, PAUSE_SIGNAL, undoWorkflowId } from "../../../workflows/contracts.js";
import { createLogger } from "../../../utils/logger.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { untilBlocked } from "../../support/locks.js";
import { freePort } from "../../support/processes.js";
import { testStack } from "../../support/stack.js";
import { insertUser } from "../../support/users.js";
import { createBench, json, plays, queueAt, quietLog } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("the reconciler", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let queue: TemporalImportQueue;
  let away: TemporalImportQueue;
  let connection: Connection;

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

  it("closes a cancel that nobody has acted on in time, without the queue", async () => {
    const [late, inTime, running] = [
      await newJob("status = 'cancelling', next_start_at = now() - interval '1 second'"),
      await newJob("status = 'cancelling', next_start_at = now() + interval '1 minute'"),
      await newJob("status = 'running', next_start_at = now() - interval '1 second'"),
    ];
    const closed: string[] = [];
    const observer = { ...NO_OBSERVER, jobClosed: ({ status }: { status: string }) => closed.push(status) };
    const deps = { pool: pool(), log: quietLog, blobKeepDays: 7, observer };
    expect(await Promise.all([closeLateCancels(deps), closeLateCancels(deps)])).to.have.members([0, 1]);
    expect(closed).to.deep.equal(["cancelled"]);
    expect(await jobRow(late)).to.include({ status: "cancelled" });
    expect(await jobRow(inTime)).to.include({ status: "cancelling" });
    expect(await jobRow(running)).to.include({ status: "running" });
  });

  it("lets nothing be written by a step that hangs when its job is closed over its head", async () => {
    const id = await newJob();
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const user = (
      await pool().query<{ user_id: string }>("select user_id from import_jobs where id = $1", [id])
    ).rows[0]!.user_id;
    const holding = await pool().connect();
    try {
      await holding.query("begin");
      await holding.query(`select pg_advisory_xact_lock(${USER_PLAYS_LOCK})`, [user]);
      const hanging = bench.steps.importPart(ref, 0, bench.context()).catch((error: unknown) => error);
      await untilBlocked(pool());
      await pool().query(
        "update import_jobs set status = 'cancelling', next_start_at = now() - interval '1 second' where id = $1",
        [id],
      );
      const deps = { pool: pool(), log: quietLog, blobKeepDays: 7, observer: NO_OBSERVER };
      expect(await closeLateCancels(deps)).to.equal(1);
      expect(await jobRow(id)).to.include({ status: "cancelled" });
      await holding.query("commit");
      expect(await hanging).to.be.instanceOf(JobClosedError);
    } finally {
      holding.release();
    }
    const { rows } = await pool().query("select 1 from listening_history where user_id = $1", [user]);
    expect(rows).to.deep.equal([]);
  });

  it("wakes what was resumed while the queue was away", async () => {
    const [resumed, paused] = [await newJob(), await newJob()];
    for (const id of [resumed, paused]) {
      await enqueue(id);
      await bench.steps.prepare({ importId: id, attempt: 1 }, bench.context());
      await pool().query("update import_jobs set status = 'paused' where id = $1", [id]);
      await bench.steps.park({ importId: id, attempt: 1 });
    }
    await pool().query("update import_jobs set status = 'running' where id = $1", [resumed]);
    expect(await pass()).to.include({ woken: 1, repaired: 0 });
    const signals = async (id: string) =>
      ((await handle(id).fetchHistory()).events ?? []).filter(
        (event) => event.workflowExecutionSignaledEventAttributes?.signalName === PAUSE_SIGNAL,
      ).length;
    expect([await signals(resumed), await signals(paused)]).to.deep.equal([1, 0]);
    expect(await pass()).to.include({ woken: 1 }); // until somebody has heard it
    await bench.steps.unpark({ importId: resumed, attempt: 1 });
    expect(await pass()).to.include({ woken: 0 });
  });

  it("leaves a paused job alone that the queue has lost, and closes one whose workflow was terminated", async () => {
    const [lost, terminated] = [await newJob("status = 'paused'"), await newJob("status = 'paused'")];
    await enqueue(terminated);
    await handle(terminated).terminate("test");
    expect(await pass()).to.include({ repaired: 1 });
    expect(await jobRow(lost)).to.include({ status: "paused" });
    expect(await stateOf(lost)).to.equal("missing");
    expect(await jobRow(terminated)).to.include({ status: "failed", error_code: "stopped_by_operator" });
  });

  it("starts an undo that nobody could start, and again one that was terminated", async () => {
    const [missed, terminated, over] = [await newJob(), await newJob(), await newJob()];
    for (const id of [missed, terminated, over]) await bench.run(id);
    await pool().query("update import_jobs set status = 'undoing' where id in ($1, $2)", [
      missed,
      terminated,
    ]);
    await pool().query("update import_jobs set status = 'undone' where id = $1", [over]);
    const undoOf = (id: string) => ({ kind: "undo", importId: id }) as const;
    await queue.enqueue({ ...undoOf(terminated), userId: "u", provider: null });
    await new Client({ connection }).workflow.getHandle(undoWorkflowId(terminated)).terminate("test");

    expect(await pass({ queue: away })).to.include({ undosStarted: 0 });
    expect(await pass()).to.include({ undosStarted: 2 });
    expect(await pass()).to.include({ undosStarted: 0 });

    for (const id of [missed, terminated]) {
      expect(await queue.inspect(undoOf(id))).to.equal("open");
      expect(await jobRow(id)).to.include({ status: "undoing" });
    }
    expect(await queue.inspect(undoOf(over))).to.equal("missing");
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

  it("goes on to the next upload when one cannot be deleted, and tries that one again later", async () => {
    const stuck = await newJob("status = 'failed', blob_delete_after = now() - interval '1 hour'");
    const next = await newJob("status = 'failed', blob_delete_after = now() - interval '1 second'");
    const file = path.join(bench.spoolDir, (await jobRow(stuck)).blob_key!);
    await rm(file);
    await mkdir(path.join(file, "in the way"), { recursive: true });
    const said = new PassThrough();
    const log = createLogger({ level: "error", format: "json" }, { service: "test" }, said);
    expect(await pass({ queue: away, log })).to.include({ acted: true, blobsDeleted: 1 });
    expect(String(said.read())).to.include(stuck);
    expect((await jobRow(next)).blob_key).to.equal(null);
    expect((await jobRow(stuck)).blob_key).to.be.a("string");

    await rm(file, { recursive: true });
    await pool().query("update import_jobs set blob_delete_after = now() where id = $1", [stuck]);
    expect(await pass({ queue: away })).to.include({ blobsDeleted: 1 });
    expect((await jobRow(stuck)).blob_key).to.equal(null);
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
