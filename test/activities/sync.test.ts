/** Syncs as they run in earnest: a schedule of a Temporal server of its own, the worker's process, a provider over HTTP. */
import path from "node:path";
import { Client, Connection } from "@temporalio/client";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { expect } from "chai";
import { loadConnectionSecrets } from "../../services/connections/secrets.js";
import { openSync } from "../../services/connections/syncing/openSync.js";
import { TemporalImportQueue } from "../../services/import/queues/TemporalImportQueue.js";
import { requestErase } from "../../services/users/erasing.js";
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

/** Not to be seen anywhere but where it is used. */
const TOKEN = "canary-of-a-token";
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
    const home = path.dirname(real.spoolDir);
    const { vault } = await loadConnectionSecrets({ home, tokenKeys: [], providers: standIn.settings() });
    const { bytes, keyId } = vault.seal(TOKEN, { row: synced, column: "access_token" });
    await db.database.pool.query(
      "update connections set account = id::text, access_token = $2, token_key_id = $3 where id = $1",
      [synced, bytes, keyId],
    );
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

  it("shows the provider its user's token, and nobody else", async () => {
    const shown = standIn.seen.filter(({ headers }) => headers.authorization === `Token ${TOKEN}`);
    expect(shown.length).to.be.greaterThan(0);
    for await (const { workflowId, runId } of client.workflow.list()) {
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      const text = historyToJSON(history);
      const payloads = [...text.matchAll(/"data":\s*"([^"]*)"/g)].map(([, data]) =>
        Buffer.from(data!, "base64").toString(),
      );
      expect(payloads.length, workflowId).to.be.greaterThan(0);
      expect([text, ...payloads].join("\n"), workflowId).not.to.include(TOKEN);
    }
    expect(worker.output()).not.to.include(TOKEN);
    const rows = await db.database.pool.query("select row_to_json(j)::text from import_jobs j");
    expect(JSON.stringify(rows.rows)).not.to.include(TOKEN);
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

  it("ends with its account, though it waits, and leaves nothing", async () => {
    const { pool } = db.database;
    const job = await openSync({ pool, queue, log: quietLog, batchRows: 100 }, synced, { trigger: "user" });
    const { id } = "opened" in job ? job.opened : expect.fail("no sync was opened");
    await until("it waits", async () => (await opened())?.waiting_reason === "rate_limited");
    await requestErase({ pool, queue, log: quietLog }, user);
    await until("the account is gone", async () => {
      const { rows } = await pool.query("select from users where id = $1", [user]);
      return rows.length === 0;
    });
    for (const table of ["connections", "import_jobs", "listening_history", "sync_runs", "sync_gaps"])
      expect((await pool.query(`select from ${table}`)).rows, table).to.deep.equal([]);
    expect(await queue.inspect({ kind: "import", importId: id, attempt: 1 })).to.be.oneOf([
      "missing",
      "cancelled",
    ]);
    await until("its schedule is gone", async () => (await queue.inspectSchedule(synced)) === null);
  });
});
