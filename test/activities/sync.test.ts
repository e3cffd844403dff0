/** Syncs as they run in earnest: a schedule of a Temporal server of its own, the worker's process, a provider over HTTP. */
import { Client, Connection } from "@temporalio/client";
import { expect } from "chai";
import { TemporalImportQueue } from "../../services/import/queues/TemporalImportQueue.js";
import { importWorkflowId, syncScheduleId } from "../../workflows/contracts.js";
import { insertConnection } from "../services/connections/syncBench.js";
import { quietLog } from "../services/import/importing.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import type { RunningEntry } from "../support/processes.js";
import { tooMany } from "../support/providers/exchange.js";
import { startStandIn } from "../support/providers/standIn.js";
import type { StandIn } from "../support/providers/standIn.js";
import { startTemporal } from "../support/servers.js";
import type { OwnServer } from "../support/servers.js";
import { insertUser } from "../support/users.js";
import { until } from "../workflows/scripted.js";
import { createRealWorker } from "./realWorker.js";
import type { RealWorker } from "./realWorker.js";

/** How long the minutes of these schedules are: the shortest interval there is. */
const MINUTE_MS = 1000;

interface SyncRow {
  readonly id: string;
  readonly status: string;
  readonly waiting_reason: string | null;
  readonly waiting_until: Date | null;
}

describe("a sync on its schedule", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let temporal: OwnServer;
  let standIn: StandIn;
  let real: RealWorker;
  let queue: TemporalImportQueue;
  let client: Client;
  let connection: Connection;
  let worker: RunningEntry;
  let user: string;
  let synced: string;
  before(async () => {
    [db, temporal, standIn] = await Promise.all([createTestDatabase(), startTemporal(), startStandIn()]);
    real = await createRealWorker(db, { temporalAddress: temporal.url });
    queue = new TemporalImportQueue({
      address: temporal.url,
      namespace: "default",
      taskQueue: real.taskQueue,
      parallelParts: 2,
      heartbeatTimeoutMs: 2000,
      log: quietLog,
      scheduleMinuteMs: MINUTE_MS,
    });
    connection = await Connection.connect({ address: temporal.url });
    client = new Client({ connection });
    user = await insertUser(db.database.pool);
    worker = await real.start(standIn.environment);
  });
  after(async () => {
    await Promise.all([queue.close(), connection.close()]);
    await real.close();
    await Promise.all([temporal.close(), standIn.stop()]);
    await db.drop();
  });

  const plays = async (): Promise<number> =>
    (
      await db.database.pool.query<{ n: number }>(
        "select count(*)::integer as n from listening_history where user_id = $1",
        [user],
      )
    ).rows[0]!.n;
  /** Newest first. */
  const syncs = async (): Promise<SyncRow[]> =>
    (
      await db.database.pool.query<SyncRow>(
        `select id, status, waiting_reason, waiting_until from import_jobs
          where connection_id = $1 order by created_at desc`,
        [synced],
      )
    ).rows;
  const listenTo = (title: string): void => {
    const at = 1_750_000_000 + 300 * (standIn.listenbrainz.listens.get(synced)?.length ?? 0);
    const before = standIn.listenbrainz.listens.get(synced) ?? [];
    standIn.listenbrainz.listens.set(synced, [...before, { title, artist: "Somebody", at }]);
  };
  const opened = async (): Promise<SyncRow | undefined> =>
    (await syncs()).find(({ status }) => ["queued", "running"].includes(status));

  it("fires, and again after its worker and the server were killed", async () => {
    synced = await insertConnection(db.database.pool, user, { everyMinutes: 1 });
    await db.database.pool.query("update connections set account = id::text where id = $1", [synced]);
    listenTo("The first");
    listenTo("The second");
    // The worker makes the schedule, of a true minute; with the short one in its place it has nothing more to say.
    await until("the worker has made a schedule", async () => (await queue.listSchedules()).includes(synced));
    await queue.upsertSchedule({
      connectionId: synced,
      userId: user,
      provider: "listenbrainz",
      everyMinutes: 1,
      paused: false,
    });
    await until("what was listened to is in", async () => (await plays()) === 2);

    await Promise.all([worker.stop("SIGKILL"), temporal.kill()]);
    listenTo("While there was neither");
    await temporal.start();
    worker = await real.start(standIn.environment);
    await until("it goes on with both back", async () => (await plays()) === 3);
    expect((await syncs()).filter(({ status }) => status === "failed")).to.deep.equal([]);
  });

  it("is there to be looked at in Temporal: the schedule, what it started, and the syncs of a connection", async () => {
    const described = await client.schedule.getHandle(syncScheduleId(synced)).describe();
    expect(described.info.recentActions.length).to.be.greaterThan(0);
    expect(described.policies).to.include({ overlap: "SKIP", pauseOnFailure: false });
    expect(described.searchAttributes).to.deep.include({
      PlaylogUserId: [user],
      PlaylogConnectionId: [synced],
      PlaylogProvider: ["listenbrainz"],
    });
    const found = async (query: string): Promise<string[]> => {
      const ids: string[] = [];
      for await (const { workflowId } of client.workflow.list({ query })) ids.push(workflowId);
      return ids;
    };
    const [newest] = (await syncs()).filter(({ status }) => status === "completed");
    await until("its workflow is listed", async () =>
      (await found(`PlaylogConnectionId = '${synced}' AND PlaylogJobKind = 'sync'`)).includes(
        importWorkflowId(newest!.id, 1),
      ),
    );
    const dueRuns = await found(`PlaylogConnectionId = '${synced}' AND PlaylogJobKind = 'schedule'`);
    expect(dueRuns.every((id) => id.startsWith(`${syncScheduleId(synced)}-`))).to.equal(true);
    expect(dueRuns.length).to.be.greaterThan(0);
  });

  it("waits out a short limit, and is one sync for as long as that takes", async () => {
    standIn.next(`/1/user/${synced}`, tooMany("3"));
    await until("a sync waits", async () => (await opened())?.waiting_reason === "rate_limited");
    const waiting = (await opened())!;
    expect(waiting.waiting_until!.getTime() - Date.now()).to.be.within(-1000, 3500);
    listenTo("While it waited");
    expect((await real.settled(user, waiting.id)).status).to.equal("completed");
    expect(await plays()).to.equal(4);
  });

  it("holds a wait of 80,000 s as a timer, says until when, and a cancel ends it at once", async () => {
    standIn.always(`/1/user/${synced}`, tooMany("80000"));
    await until("a sync waits", async () => (await opened())?.waiting_reason === "rate_limited");
    const waiting = (await opened())!;
    expect((waiting.waiting_until!.getTime() - Date.now()) / 1000).to.be.within(79_900, 80_001);
    const view = await real.service.find(user, waiting.id);
    expect(view.waiting).to.deep.equal({ reason: "rate_limited", until: waiting.waiting_until });
    const handle = client.workflow.getHandle(importWorkflowId(waiting.id, 1));
    const timersOf = async () =>
      ((await handle.fetchHistory()).events ?? []).flatMap(
        ({ timerStartedEventAttributes: timer }) => timer?.startToFireTimeout?.seconds ?? [],
      );
    await until("its timer runs", async () => (await timersOf()).length === 1);
    expect(Number((await timersOf())[0])).to.be.within(79_900, 80_001);
    await queue.removeSchedule(synced);
    await real.service.cancel(user, waiting.id);
    expect((await real.settled(user, waiting.id, undefined, 5000)).status).to.equal("cancelled");
    expect((await syncs()).filter(({ status }) => status === "running")).to.deep.equal([]);
  });
});
