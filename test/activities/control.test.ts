/** Pause, resume, cancel and undo with the worker's own process and the real queue. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import { ACTIVITY_SLOTS } from "../../activities/slots.js";
import { USER_PLAYS_LOCK } from "../../db/advisoryLocks.js";
import { ImportService } from "../../services/import/ImportService.js";
import { TemporalImportQueue } from "../../services/import/queues/TemporalImportQueue.js";
import { importWorkflowId, undoWorkflowId } from "../../workflows/contracts.js";
import { digestOf, json, plays, quietLog } from "../services/import/importing.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { freePort } from "../support/processes.js";
import type { RunningEntry } from "../support/processes.js";
import { testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";
import { createRealWorker } from "./realWorker.js";
import type { RealWorker } from "./realWorker.js";

/** What a cancel promises. */
const CANCELLED_WITHIN_MS = 15_000;

describe("control of running imports", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let real: RealWorker;
  let worker: RunningEntry;
  let connection: Connection;
  before(async () => {
    db = await createTestDatabase();
    real = await createRealWorker(db);
    worker = await real.start();
    connection = await Connection.connect({ address: testStack().temporalAddress });
  });
  after(async () => {
    await connection.close();
    await real.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const rows = async (user: string) => (await digestOf(pool(), user)).rows;
  const workflow = (id: string) => new Client({ connection }).workflow.getHandle(id);

  async function until(what: string, holds: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!(await holds())) {
      if (Date.now() > deadline)
        throw new Error(`Not so after ${timeoutMs} ms: ${what}\n${worker.output().slice(-2000)}`);
      await sleep(20);
    }
  }
  const readAtLeast = (user: string, id: string, read: number) =>
    until(`${read} records are read`, async () => {
      const job = await real.service.find(user, id);
      return job.counts.read >= read || job.finishedAt !== null;
    });
  const isParked = async (id: string): Promise<boolean> => {
    const found = await pool().query<{ parked: boolean }>(
      "select parked_at is not null as parked from import_jobs where id = $1",
      [id],
    );
    return found.rows[0]?.parked === true;
  };
  const parked = (id: string) => until("the run waits", () => isParked(id));
  const ended = (id: string) =>
    until(
      "the workflow is over",
      async () => (await real.queue.inspect({ kind: "import", importId: id, attempt: 1 })) !== "open",
    );
  async function accepted(count: number) {
    const user = await insertUser(pool());
    const { id } = await real.accept(user, json(plays(count)));
    return { user, id };
  }
  /** What an import of so many plays brings when nothing disturbs it. */
  async function undisturbed(count: number) {
    const { user, id } = await accepted(count);
    await completed(user, id);
    return digestOf(pool(), user);
  }
  async function completed(user: string, id: string) {
    const job = await real.settled(user, id);
    expect(job.error).to.equal(null);
    expect(job.status).to.equal("completed");
    return job;
  }
  async function cancelledInTime(user: string, id: string): Promise<void> {
    const askedAt = Date.now();
    expect((await real.service.cancel(user, id)).job.status).to.be.oneOf(["cancelling", "cancelled"]);
    await real.settled(user, id, ["cancelled"], CANCELLED_WITHIN_MS);
    expect(Date.now() - askedAt).to.be.below(CANCELLED_WITHIN_MS);
  }
  /** Holds the lock that every batch and every undo of this user needs, until `release`. */
  async function holdPlays(
    user: string,
  ): Promise<{ release: () => Promise<void>; wanted: () => Promise<void> }> {
    const client = await pool().connect();
    await client.query("begin");
    await client.query(`select pg_advisory_xact_lock(${USER_PLAYS_LOCK})`, [user]);
    const own = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    const waiting = async (): Promise<boolean> => {
      const found = await pool().query<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity
          where datname = current_database() and $1 = any(pg_blocking_pids(pid))`,
        [own.rows[0]!.pid],
      );
      return found.rows[0]!.n > 0;
    };
    return {
      async release() {
        await client.query("commit");
        client.release();
      },
      wanted: () => until("somebody waits for the lock", waiting),
    };
  }

  it("pauses a one-file import, writes nothing until it is resumed, and ends with the same rows", async () => {
    const { user, id } = await accepted(1500);
    await readAtLeast(user, id, 200);
    expect((await real.service.pause(user, id)).job.status).to.equal("paused");
    await parked(id);
    const before = await real.service.find(user, id);
    expect(before.counts.read % 100).to.equal(0);
    expect(before.counts.read).to.be.below(1500);
    expect(await rows(user)).to.equal(before.counts.inserted);

    // The worker that parked it is gone; so is all that was in its memory.
    expect(await worker.stop("SIGTERM")).to.equal(0);
    worker = await real.start();
    expect(await real.service.find(user, id)).to.deep.equal(before);

    expect((await real.service.resume(user, id)).job.status).to.equal("running");
    const job = await completed(user, id);
    expect(job.counts).to.include({ read: 1500, inserted: 1500 });
    expect(await digestOf(pool(), user)).to.deep.equal(await undisturbed(1500));
  });

  it("goes on though the wake-up was lost: the queue was away when it was resumed", async () => {
    const { user, id } = await accepted(2000);
    await readAtLeast(user, id, 100);
    await real.service.pause(user, id);
    await parked(id);
    const away = new TemporalImportQueue({
      address: `127.0.0.1:${await freePort()}`,
      namespace: "default",
      taskQueue: real.taskQueue,
      parallelParts: 2,
      heartbeatTimeoutMs: 2000,
      log: quietLog,
    });
    try {
      const elsewhere = new ImportService({
        pool: pool(),
        queue: away,
        blobs: real.blobs,
        log: quietLog,
        batchRows: 100,
        blobKeepDays: 7,
      });
      await elsewhere.resume(user, id);
    } finally {
      await away.close();
    }
    await completed(user, id);
    expect(await rows(user)).to.equal(2000);
  });

  it("takes pauses and resumes in any number and order", async () => {
    const { user, id } = await accepted(1500);
    const ask = (action: "pause" | "resume"): Promise<unknown> =>
      real.service[action](user, id).catch((error: unknown) => {
        expect(error).to.have.property("code", "wrong_state"); // it was quicker
      });
    for (let n = 0; n < 10; n += 1) {
      const actions = n % 3 === 0 ? (["pause", "resume"] as const) : (["resume", "pause"] as const);
      await Promise.all(actions.map(ask));
      await ask("resume");
      await readAtLeast(user, id, n * 100);
    }
    await completed(user, id);
    expect(await digestOf(pool(), user)).to.deep.equal(await undisturbed(1500));
  });

  it("cancels at any moment: what is in is counted, and nothing is written afterwards", async () => {
    const random = randomFrom(20_261_125);
    const moments = Array.from({ length: 20 }, () => ({
      read: Math.floor(random() * 1000),
      first: (["nothing", "pause", "pause and resume"] as const)[Math.floor(random() * 3)],
    }));
    const ends: { user: string; id: string; status: string; rows: number }[] = [];
    const one = async ({ read, first }: (typeof moments)[number]): Promise<void> => {
      const { user, id } = await accepted(1000);
      const ask = async (action: "pause" | "resume"): Promise<void> => {
        await real.service[action](user, id).catch((error: unknown) =>
          expect(error).to.have.property("code", "wrong_state"),
        ); // it was quicker
      };
      await readAtLeast(user, id, read);
      if (first !== "nothing") await ask("pause");
      if (first === "pause and resume") await ask("resume");
      const asked: unknown = await real.service.cancel(user, id).catch((error: unknown) => error);
      if (asked instanceof Error) expect(asked).to.have.property("code", "wrong_state");
      const job = await real.settled(user, id, undefined, CANCELLED_WITHIN_MS);
      expect(job.status).to.be.oneOf(["cancelled", "completed"]);
      const { counts } = job;
      expect(counts.read).to.equal(counts.inserted + counts.duplicate + counts.skipped + counts.rejected);
      expect(await rows(user)).to.equal(counts.inserted);
      ends.push({ user, id, status: job.status, rows: counts.inserted });
    };
    for (let n = 0; n < moments.length; n += 4) await Promise.all(moments.slice(n, n + 4).map(one));
    for (const end of ends) {
      await ended(end.id);
      expect(await rows(end.user)).to.equal(end.rows);
    }
    expect(ends).to.have.length(20);
    expect(ends.filter((end) => end.status === "cancelled").length).to.be.above(10);
  });

  it("cancels in time while a step waits to be tried again", async () => {
    await pool().query(`
      create function refuse_batch() returns trigger language plpgsql as
        $$ begin raise exception 'not now'; end $$;
      create trigger refuse_batch before insert on import_batches for each row
        when (new.batch_no = 3) execute function refuse_batch()`);
    try {
      const { user, id } = await accepted(1000);
      const tries = async () => {
        const { raw } = await workflow(importWorkflowId(id, 1)).describe();
        return raw.pendingActivities?.[0]?.attempt ?? 0;
      };
      await until("it is tried again", async () => (await tries()) >= 3, 60_000);
      await cancelledInTime(user, id);
      expect(await rows(user)).to.equal(300);
    } finally {
      await pool().query("drop trigger refuse_batch on import_batches; drop function refuse_batch()");
    }
  });

  it("cancels in time while the database is waited for, and lets nothing in afterwards", async () => {
    const { user, id } = await accepted(1000);
    const plays = await holdPlays(user);
    try {
      await plays.wanted(); // by a batch that would bring the first plays
      await cancelledInTime(user, id);
    } finally {
      await plays.release();
    }
    await ended(id);
    expect(await rows(user)).to.equal(0);
    await real.service.retry(user, id);
    await completed(user, id);
    expect(await rows(user)).to.equal(1000);
  });

  it("cancels in time while the worker has its hands full with the imports of others", async () => {
    const { user, id } = await accepted(1000);
    await readAtLeast(user, id, 100);
    await real.service.pause(user, id);
    await parked(id);
    const others = [];
    try {
      for (let slot = 0; slot < ACTIVITY_SLOTS; slot += 1) {
        const other = await accepted(200);
        const plays = await holdPlays(other.user);
        others.push({ ...other, plays });
        await plays.wanted();
      }
      await cancelledInTime(user, id);
    } finally {
      for (const { plays } of others) await plays.release();
    }
    for (const other of others) await completed(other.user, other.id);
    await ended(id);
  });

  it("cancels in time while it is paused, and while no worker runs closes it when one comes", async () => {
    const [waiting, orphaned] = [await accepted(2000), await accepted(2000)];
    for (const { user, id } of [waiting, orphaned]) {
      await readAtLeast(user, id, 100);
      await real.service.pause(user, id);
      await parked(id);
    }
    await cancelledInTime(waiting.user, waiting.id);
    await worker.stop("SIGTERM");
    await real.service.cancel(orphaned.user, orphaned.id);
    worker = await real.start();
    await real.settled(orphaned.user, orphaned.id, ["cancelled"], CANCELLED_WITHIN_MS);
    for (const { id } of [waiting, orphaned]) await ended(id);
  });

  it("closes a paused import that somebody terminates in Temporal, and imports the rest on retry", async () => {
    const { user, id } = await accepted(2000);
    await readAtLeast(user, id, 100);
    await real.service.pause(user, id);
    await parked(id);
    await workflow(importWorkflowId(id, 1)).terminate("test");
    const job = await real.settled(user, id);
    expect(job).to.deep.include({ status: "failed", waiting: null });
    expect(job.error).to.include({ code: "stopped_by_operator" });
    await real.service.retry(user, id);
    await completed(user, id);
    expect(await rows(user)).to.equal(2000);
  });

  it("undoes an import; what another brought again stays, as that one's", async () => {
    const user = await insertUser(pool());
    const first = await real.accept(user, json(plays(900)));
    await real.settled(user, first.id);
    const second = await real.accept(user, json(plays(300, 200)));
    await real.settled(user, second.id);
    expect((await real.service.undo(user, first.id)).job.status).to.equal("undoing");
    const undone = await real.settled(user, first.id, ["undone"]);
    expect(undone.counts).to.include({ read: 900, inserted: 900 });
    const left = await pool().query<{ plays: number; own: boolean }>(
      `select count(*)::int as plays, bool_and(import_job_id = $2) as own from listening_history where user_id = $1`,
      [user, second.id],
    );
    expect(left.rows[0]).to.deep.equal({ plays: 300, own: true });
    expect(await workflow(undoWorkflowId(first.id)).result()).to.deep.equal({
      removed: 600,
      handedOver: 300,
    });
  });

  it("comes to the end of an undo whose worker is killed and whose workflow is terminated on the way", async () => {
    const { user, id } = await accepted(1500);
    await real.settled(user, id);
    const plays = await holdPlays(user);
    await real.service.undo(user, id);
    await plays.wanted();
    await worker.stop("SIGKILL");
    await workflow(undoWorkflowId(id)).terminate("test");
    worker = await real.start();
    await plays.wanted();
    expect(await real.service.find(user, id)).to.include({ status: "undoing" });
    await plays.release();
    await real.settled(user, id, ["undone"]);
    expect(await rows(user)).to.equal(0);
  });

  it("undoes while the same upload is imported again: every play is there once, and the new import's", async () => {
    const user = await insertUser(pool());
    const upload = json(plays(2500));
    const { id } = await real.accept(user, upload);
    await real.settled(user, id);
    const again = await real.accept(user, upload);
    await readAtLeast(user, again.id, 500);
    await real.service.undo(user, id);
    const [undone, job] = await Promise.all([
      real.settled(user, id, ["undone"]),
      real.settled(user, again.id),
    ]);
    expect([undone.status, job.status]).to.deep.equal(["undone", "completed"]);
    expect(await digestOf(pool(), user)).to.deep.equal(await undisturbed(2500));
    const owners = await pool().query(
      "select distinct import_job_id as id from listening_history where user_id = $1",
      [user],
    );
    expect(owners.rows).to.deep.equal([{ id: again.id }]);
  });
});

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
