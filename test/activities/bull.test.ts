/** Imports on BullMQ with the worker's own process, in a Redis of the test. No process is told of any Temporal. */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { insertConnection } from "../services/connections/syncBench.js";
import { requestErase } from "../../services/users/erasing.js";
import { outcomeOf, undisturbed } from "../faults/outcome.js";
import type { Outcome } from "../faults/outcome.js";
import { digestOf, json, play, plays, podcast, quietLog } from "../services/import/importing.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import type { RunningEntry } from "../support/processes.js";
import { tooMany } from "../support/providers/exchange.js";
import { startStandIn } from "../support/providers/standIn.js";
import type { StandIn } from "../support/providers/standIn.js";
import { rejection } from "../support/rejection.js";
import { startRedis } from "../support/servers.js";
import type { OwnServer } from "../support/servers.js";
import { until as untilWithin } from "../support/until.js";
import { insertUser } from "../support/users.js";
import { zip } from "../support/zip.js";
import { createRealWorker } from "./realWorker.js";
import type { RealWorker } from "./realWorker.js";

/** 1,060 records in 11 batches of two files, with repeats inside and across them, a podcast and a broken record. */
const UPLOAD = zip([
  { name: "a.json", data: json([...plays(500), ...plays(60, 440), podcast(1), { ...play(1), ts: "?" }]) },
  { name: "b.json", data: json(plays(498, 400)) },
]);

const PATIENCE_MS = 30_000;
/** How long a run may be silent. */
const LOCK_MS = 1000;

/** For Node: makes the package one that is not installed. */
const WITHOUT_BULLMQ = `data:text/javascript,${encodeURIComponent(`
  import { register } from "node:module";
  register("data:text/javascript," + encodeURIComponent(\`
    export async function resolve(name, context, next) {
      if (name === "bullmq") throw Object.assign(new Error("no " + name), { code: "ERR_MODULE_NOT_FOUND" });
      return next(name, context);
    }\`));`)}`;

describe("imports on BullMQ", function () {
  this.timeout(90_000);
  let db: TestDatabase;
  let redis: OwnServer;
  let real: RealWorker;
  let standIn: StandIn;
  let worker: RunningEntry;
  let calm: Outcome;

  before(async () => {
    [db, redis, standIn] = await Promise.all([createTestDatabase(), startRedis(), startStandIn()]);
    real = await createRealWorker(db, {
      bullRedisUrl: redis.url,
      scheduleMinuteMs: 1000,
      heartbeatTimeoutMs: LOCK_MS,
    });
    calm = await undisturbed(pool(), UPLOAD);
    expect(calm.counts).to.deep.include({ read: 1060, inserted: 898, rejected: 1, skipped: 1 });
  });
  after(async () => {
    await real.close();
    await Promise.all([redis.close(), standIn.stop(), db.drop()]);
  });

  const pool = () => db.database.pool;
  const until = (what: string, holds: () => Promise<boolean>) => untilWithin(what, holds, PATIENCE_MS);
  const start = (env: Readonly<Record<string, string>> = {}, execArgv: readonly string[] = []) =>
    real.start({ IMPORT_OUTAGE_RETRY_MS: "200", ...standIn.environment, ...env }, execArgv);
  const rows = async (user: string) => (await digestOf(pool(), user)).rows;
  const inspect = (id: string) => real.queue.inspect({ kind: "import", importId: id, attempt: 1 });
  const over = (id: string) => until("the run is over", async () => (await inspect(id)) !== "open");
  async function accepted(upload: Buffer = UPLOAD) {
    const user = await insertUser(pool());
    return { user, id: (await real.accept(user, upload)).id };
  }
  /** Nobody commits a batch of this user until `act` is done. */
  async function whileUnderWay({ user, id }: { user: string; id: string }, act: () => Promise<void>) {
    const holder = await pool().connect();
    try {
      await holder.query("select pg_advisory_lock(hashtextextended('playlog user ' || $1::text, 0))", [user]);
      await until("it is under way", async () => (await real.service.find(user, id)).status === "running");
      await act();
    } finally {
      await holder.query("select pg_advisory_unlock_all()");
      holder.release();
    }
  }
  async function parked(id: string): Promise<void> {
    await until("the run waits", async () => {
      const found = await pool().query("select from import_jobs where id = $1 and parked_at is not null", [
        id,
      ]);
      return found.rows.length === 1;
    });
  }

  it("does not begin without the package, and says what to install", async () => {
    const failure = await rejection(start({}, ["--import", WITHOUT_BULLMQ]));
    expect((failure as Error).message).to.match(
      /ended with 1 .*\nIMPORT_QUEUE=bullmq needs the package bullmq, .*: npm install bullmq\n$/,
    );
  });

  it("waits while it is paused, stops when it is cancelled, and goes on after the worker was killed", async () => {
    const [one, two] = [await accepted(), await accepted()];
    for (const { user, id } of [one, two]) {
      await real.service.pause(user, id);
      expect(await inspect(id)).to.equal("open"); // enqueued before it was paused
    }
    const doomed = await start({ PLAYLOG_KILL_AT: "0:3:before-commit" });
    await Promise.all([parked(one.id), parked(two.id)]);
    await real.service.cancel(two.user, two.id);
    await real.settled(two.user, two.id, ["cancelled"]);
    expect(await rows(one.user)).to.equal(0);

    const death = once(doomed.child, "exit") as Promise<[number | null, string | null]>;
    await real.service.resume(one.user, one.id);
    expect((await death)[1]).to.equal("SIGKILL");
    expect((await real.service.find(one.user, one.id)).counts.read).to.be.within(1, 1059);
    worker = await start();
    await real.settled(one.user, one.id);
    expect(await outcomeOf(pool(), one.id)).to.deep.equal(calm);
    expect(await rows(two.user)).to.equal(0);
  });

  it("is handed on by a worker that is told to stop, and says how each run ended", async () => {
    const { user, id } = await accepted();
    await until("it has begun", async () => (await real.service.find(user, id)).counts.read > 0);
    expect(await worker.stop("SIGTERM")).to.equal(0);
    expect(await inspect(id)).to.be.oneOf(["open", "completed"]);
    const bad = await accepted(zip([{ name: "notes.txt", data: Buffer.from("nothing of ours") }]));
    await start();
    await real.settled(user, id);
    expect(await outcomeOf(pool(), id)).to.deep.equal(calm);
    expect((await real.settled(bad.user, bad.id)).error?.code).to.equal("no_known_files");
    await Promise.all([over(id), over(bad.id)]);
    expect([await inspect(id), await inspect(bad.id)]).to.deep.equal(["completed", "failed"]);

    await real.service.undo(user, id);
    await real.settled(user, id, ["undone"]);
    expect(await rows(user)).to.equal(0);
  });

  it("starts again what Redis has lost, goes on after it hung, and never takes what has ended", async () => {
    const ended = await accepted();
    await real.settled(ended.user, ended.id);
    const lost = await accepted();
    await whileUnderWay(lost, async () => {
      await redis.kill();
      await redis.start();
    });
    await real.settled(lost.user, lost.id);
    expect(await outcomeOf(pool(), lost.id)).to.deep.equal(calm);

    const hung = await accepted();
    await whileUnderWay(hung, async () => {
      await redis.freeze();
      await sleep(1.5 * LOCK_MS);
      await redis.thaw();
    });
    await real.settled(hung.user, hung.id);
    expect(await outcomeOf(pool(), hung.id)).to.deep.equal(calm);

    expect(await inspect(ended.id)).to.equal("missing");
    const again = { importId: ended.id, attempt: 1, userId: ended.user } as const;
    expect(await real.queue.enqueue({ kind: "import", ...again, provider: null, jobKind: "file" })).to.equal(
      "exists",
    );
    expect(await outcomeOf(pool(), ended.id)).to.deep.equal(calm);
  });

  it("erases an account with all that is under way", async () => {
    const { user } = await accepted();
    await requestErase({ pool: pool(), queue: real.queue, log: quietLog }, user);
    await until("the account is gone", async () => {
      const found = await pool().query("select from users where id = $1", [user]);
      return found.rows.length === 0;
    });
    expect(await rows(user)).to.equal(0);
  });

  it("syncs a connection on its schedule, which is made again when Redis has lost it, and waits out a limit", async () => {
    const user = await insertUser(pool());
    const connectionId = await insertConnection(pool(), user, { everyMinutes: 1 });
    await pool().query("update connections set account = id::text where id = $1", [connectionId]);
    const listens = ["The first", "The second"].map((title, n) => ({
      title,
      artist: "Somebody",
      at: 1_750_000_000 + 300 * n,
    }));
    standIn.listenbrainz.listens.set(connectionId, listens);
    const scheduled = () =>
      until("the worker has made a schedule", async () =>
        (await real.queue.listSchedules()).includes(connectionId),
      );
    const open = async () =>
      (
        await pool().query<{ id: string; until: Date | null }>(
          `select id, waiting_until as until from import_jobs
            where connection_id = $1 and waiting_reason = 'rate_limited' and status = 'running'`,
          [connectionId],
        )
      ).rows[0];
    await scheduled();
    await redis.kill();
    await redis.start();
    await scheduled();
    // In place of the worker's, which is of a true minute; again, for the worker may be about to make its own.
    const schedule = { connectionId, userId: user, provider: "listenbrainz", everyMinutes: 1, paused: false };
    standIn.next(`/1/user/${connectionId}`, tooMany("2"));
    let toldAt = -Infinity;
    await until("a sync waits", async () => {
      if (performance.now() - toldAt > 3000) {
        await real.queue.upsertSchedule(schedule);
        toldAt = performance.now();
      }
      return (await open()) !== undefined;
    });
    await until("what was listened to is in", async () => (await rows(user)) === 2);

    standIn.always(`/1/user/${connectionId}`, tooMany("80000"));
    await until("a sync waits for long", async () => {
      const waiting = await open();
      return waiting?.until != null && waiting.until.getTime() > Date.now() + 79_900_000;
    });
    await real.queue.removeSchedule(connectionId);
    const { id } = (await open())!;
    await real.service.cancel(user, id);
    expect((await real.settled(user, id, undefined, 5000)).status).to.equal("cancelled");
  });
});
