/** Reads from a real streaming replica that lags, is slow, dies and comes back; and what must not be read from it. */
import { expect } from "chai";
import pg from "pg";
import { createDatabase, type Database } from "../../db/knex.js";
import { DatabaseListener } from "../../db/listener.js";
import { migrateToLatest } from "../../db/migrate.js";
import { historyOf } from "../../db/queries/cacheVersions.js";
import { type ReadPlace, ReplicaReads } from "../../db/replica.js";
import { CacheVersions } from "../../services/cache/CacheVersions.js";
import { createBench, json, plays, quietLog } from "../services/import/importing.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { databaseSettings } from "../support/database.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { insertPlays } from "../support/plays.js";
import { rejection } from "../support/rejection.js";
import { type Replica, startReplica } from "../support/replica.js";
import { type OwnServer, startPostgres } from "../support/servers.js";
import { startTcpProxy } from "../support/tcpProxy.js";
import { until } from "../support/until.js";

const HISTORY = "/api/v1/listening-history";
/** Not kept in the cache: each time it is asked for it is read. */
const UNCACHED = `${HISTORY}?limit=1&page=2`;
const MAX_LAG_MS = 2000;
/** A statement that is slow on the replica only, and says where it ran. */
const SLOW_ON_REPLICA = `select pg_is_in_recovery() as standby
  from pg_sleep(case when pg_is_in_recovery() then 60 else 0 end)`;

describe("reads from a replica", function () {
  this.timeout(30_000);
  let primary: OwnServer;
  let replica: Replica;
  let urls: { primary: string; replica: string };
  let direct: Database;
  let pool: Database["pool"];
  let app: TestApp;
  /** Another process; it writes nothing itself. */
  let other: TestApp;
  let user: TestUser;
  let stranger: TestUser;

  before(async () => {
    primary = await startPostgres();
    const admin = new pg.Client({ connectionString: primary.url });
    await admin.connect();
    await admin.query("create database playlog");
    await admin.end();
    await migrateToLatest(inPlaylog(primary.url));
    replica = await startReplica(primary);
    urls = { primary: inPlaylog(primary.url), replica: inPlaylog(replica.url) };
    direct = createDatabase(databaseSettings(urls.primary), { applicationName: "playlog-test" });
    pool = direct.pool;
    const env = {
      DATABASE_URL: urls.primary,
      DATABASE_REPLICA_URL: urls.replica,
      REPLICA_MAX_LAG_MS: String(MAX_LAG_MS),
    };
    app = await startTestApp({ env });
    other = await startTestApp({ beside: app, env });
    [user, stranger] = [await buildUser(app), await buildUser(app)];
    for (const { id } of [user, stranger]) await insertPlays(pool, id, days(1, 2, 3));
  });
  after(async () => {
    await direct?.close();
    await other?.close();
    await app?.close();
    await replica?.close();
    await primary?.close();
  });

  const heard = () => Promise.all([app.deps.pages.seen(), other.deps.pages.seen()]);
  const get = async (path: string, by: TestUser, from = app) =>
    expectStatus(200, await from.as(by).get(path)).body;
  const daysOf = async (path: string, by: TestUser, from = app): Promise<string[]> =>
    ((await get(path, by, from)).data as { playedAt: string }[]).map(({ playedAt }) => playedAt.slice(8, 10));
  /** Where the reads of `work` were answered, in `from`. */
  const placesOf = async (work: () => Promise<unknown>, from = app): Promise<ReadPlace[]> => {
    const before = await readsOf(from);
    await work();
    const now = await readsOf(from);
    return (["replica", "primary", "retried"] as const).flatMap((place) =>
      Array.from({ length: now[place] - before[place] }, () => place),
    );
  };
  /** Both processes may read the histories of both users from the replica. */
  const untilRead = async (): Promise<void> => {
    for (const from of [app, other]) {
      for (const by of [user, stranger]) {
        await until("a read from the replica", async () => {
          const places = await placesOf(() => get(UNCACHED, by, from), from);
          return places.join() === "replica";
        });
      }
    }
  };
  const problem = async (): Promise<string | null> =>
    (await app.anonymous.get("/health/db")).body.replica.problem;

  it("are lists, as soon as it has what was written; its state is in the health check and the metrics", async () => {
    await untilRead();
    expect(await daysOf(UNCACHED, user)).to.deep.equal(["02"]);
    const { body } = expectStatus(200, await app.anonymous.get("/health/db"));
    expect(body.replica).to.include({ state: "up", problem: null });
    expect(body.replica.latencyMs).to.be.within(0, 1000);
    expect(body.replica.lagMs).to.be.within(0, MAX_LAG_MS);
    expect(body.replica.lagBytes).to.be.at.least(0);
    expect(body.replica.pools.pg).to.include({ max: app.config.database.poolMax, pending: 0 });
    expect(body.replica.pools.pg.used + body.replica.pools.pg.free).to.be.at.least(1);
    const metrics = await app.deps.metrics.registry.metrics();
    expect(metrics)
      .to.match(/^playlog_replica_up 1$/m)
      .and.match(/^playlog_replica_lag_bytes \d/m);
    expect(metrics).to.match(/^playlog_pool_connections\{pool="replica",state="free"\} [1-9]/m);
  });

  it("show everybody's own changes at once while it lags, by whatever process they were made", async () => {
    await untilRead();
    await replica.pauseReplay();
    try {
      await insertPlays(pool, user.id, days(4));
      await heard();
      for (const from of [app, other]) {
        expect(await placesOf(() => get(UNCACHED, user, from), from)).to.deep.equal(["primary"]);
        expect(await daysOf(UNCACHED, user, from)).to.deep.equal(["03"]);
        expect(await daysOf(HISTORY, user, from)).to.deep.equal(["04", "03", "02", "01"]);
      }
      const bench = await createBench(pool);
      try {
        await bench.run(await bench.job(user.id, json(plays(30))));
      } finally {
        await bench.close();
      }
      await heard();
      for (const from of [app, other])
        expect((await get(`${HISTORY}?includeTotal=true&limit=1`, user, from)).total).to.equal(34);
      const leaving = await buildUser(app);
      for (const from of [app, other]) expectStatus(200, await from.as(leaving).get(UNCACHED));
      expectStatus(204, await app.as(leaving).post("/api/v1/auth/logout"));
      await heard();
      for (const from of [app, other]) expectStatus(401, await from.as(leaving).get(UNCACHED));
    } finally {
      await replica.resumeReplay();
    }
    await untilRead();
    expect(await daysOf(UNCACHED, user), "from the replica").to.deep.equal(["03"]);
    expect((await get(`${HISTORY}?includeTotal=true&limit=1&page=2`, user)).total).to.equal(34);
    expect(await daysOf(`${HISTORY}?limit=4`, user, other)).to.deep.equal(["04", "03", "02", "01"]);
  });

  it("stay with it for those who changed nothing, until it lags too much", async () => {
    await untilRead();
    await replica.pauseReplay();
    try {
      await insertPlays(pool, user.id, days(5));
      await heard();
      expect(await placesOf(() => get(UNCACHED, stranger))).to.deep.equal(["replica"]);
      // Nobody announces this one, so it shows who answers.
      await pool.query(
        "update listening_history set played_at = played_at + interval '1 minute' where user_id = $1",
        [stranger.id],
      );
      await until("the end of its use", async () => {
        const places = await placesOf(() => get(UNCACHED, stranger));
        return places.join() === "primary";
      });
      expect((await get(UNCACHED, stranger)).data[0].playedAt).to.match(/T00:01:00/);
      expect(await problem()).to.equal("behind");
    } finally {
      await replica.resumeReplay();
    }
    await untilRead();
    expect(await problem()).to.equal(null);
    expect(await daysOf(UNCACHED, user)).to.deep.equal(["04"]);
  });

  it("show no less than the version of the primary that was read before them", async () => {
    const proxy = await startTcpProxy(urls.primary);
    const listener = new DatabaseListener({ databaseUrl: proxy.through(urls.primary), log: quietLog });
    const database = openDatabase(urls);
    const places: ReadPlace[] = [];
    const reads = readsThrough(database, listener, (place) => places.push(place));
    const versions = new CacheVersions({
      listener,
      pool: database.pool,
      sawPrimary: (scopes) => reads.sawPrimary(scopes),
    });
    const scope = historyOf(stranger.id);
    const count = () =>
      reads.run([scope], async (from) => {
        const { rows } = await from.query<{ n: number }>(
          "select count(*) as n from listening_history where user_id = $1",
          [stranger.id],
        );
        return rows[0]?.n;
      });
    try {
      await listener.start();
      await until(
        "a read from the replica",
        async () => (await count()) === 3 && places.at(-1) === "replica",
      );
      await replica.pauseReplay();
      proxy.muffle(); // the listener is still trusted, and hears nothing
      await insertPlays(pool, stranger.id, days(6));
      expect(await count(), "of a change that nobody knows of").to.equal(3);
      expect(await versions.current([scope])).to.not.equal(null);
      expect(await count()).to.equal(4);
      expect(places.at(-1)).to.equal("primary");
      expect(listener.trusted).to.equal(true);
    } finally {
      await replica.resumeReplay();
      await listener.close();
      await database.close();
      await proxy.close();
    }
  });

  it("go to the primary when it freezes or dies under them, and nobody gets an error; and come back to it", async () => {
    for (const [hurt, heal] of [
      [() => replica.freeze(), () => replica.thaw()],
      [() => replica.kill(), () => replica.start()],
    ] as const) {
      await untilRead();
      const { reads } = app.deps;
      const pending = reads.run([], (from) => from.query<{ standby: boolean }>(SLOW_ON_REPLICA));
      await until("a statement on the replica", async () => {
        const { rowCount } = await app.deps.database.replica!.pool.query(
          "select from pg_stat_activity where state = 'active' and query like '%pg_sleep(case%' and pid <> pg_backend_pid()",
        );
        return rowCount === 1;
      });
      await hurt();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => app.as(n % 2 === 0 ? user : stranger).get(UNCACHED)),
      );
      expect(new Set(answers.map(({ status }) => status))).to.deep.equal(new Set([200]));
      expect((await pending).rows).to.deep.equal([{ standby: false }]);
      await until("its report", async () => (await problem()) === "down");
      expect((await app.anonymous.get("/health/db")).status).to.equal(200);
      await heal();
    }
    await untilRead();
  });

  it("are tried again on the primary when it is slow or in the way of what it replays", async () => {
    await untilRead();
    const { reads, database } = app.deps;
    await pool.query("create table contested (n integer); insert into contested values (1)");
    await until("the table on the replica", async () => {
      const { rows } = await database.replica!.pool.query("select to_regclass('contested') as found");
      return rows[0].found !== null;
    });
    const contested = reads.run([], (from) =>
      from.query(`${SLOW_ON_REPLICA} cross join contested`).then(({ rows }) => rows),
    );
    await until("a lock on the replica", async () => {
      const { rowCount } = await database.replica!.pool.query(
        "select from pg_locks where relation = 'contested'::regclass and mode = 'AccessShareLock'",
      );
      return rowCount === 1;
    });
    await pool.query("alter table contested add column more integer");
    expect(await contested).to.deep.equal([{ standby: false }]);
    expect(await problem(), "a conflict is no failure").to.equal(null);

    const slow = Array.from({ length: 3 }, () => reads.run([], (from) => from.query(SLOW_ON_REPLICA)));
    for (const { rows } of await Promise.all(slow)) expect(rows).to.deep.equal([{ standby: false }]);
    expect(await problem()).to.equal("failing");
    expect(await placesOf(() => get(UNCACHED, user))).to.deep.equal(["primary"]);
    await untilRead();
    expect(await problem()).to.equal(null);
    expect(app.logs()).to.include("reads fail on the replica");
  });

  it("hand an error of the question through, and ask nobody else", async () => {
    await untilRead();
    const wrong = new RangeError("no such page");
    let asked = 0;
    const places = await placesOf(async () => {
      const error = await rejection(
        app.deps.reads.run([], () => {
          asked += 1;
          return Promise.reject(wrong);
        }),
      );
      expect(error).to.equal(wrong);
    });
    expect({ asked, places }).to.deep.equal({ asked: 1, places: [] });
  });

  it("never write there, and never read from what is no replica of this database", async () => {
    const database = openDatabase({ primary: urls.primary, replica: urls.primary });
    try {
      const error = await rejection(database.replica!.pool.query("create table written (n integer)"));
      expect(error).to.have.property("code", "25006");
      expect((await database.replica!.watch.check()).problem).to.equal("not_a_standby");
      expect(database.replica!.watch.freshUntil).to.equal(-Infinity);
    } finally {
      await database.close();
    }
    await untilRead();
    await replica.promote();
    await until("its report", async () => (await problem()) === "not_a_standby");
    expect(await placesOf(() => get(UNCACHED, user))).to.deep.equal(["primary"]);
    expect(app.logs()).to.include('"problem":"not_a_standby"');
  });
});

const inPlaylog = (serverUrl: string): string => {
  const url = new URL(serverUrl);
  url.pathname = "/playlog";
  return url.href;
};

/** Plays at midnight of these days, one each. */
const days = (...numbers: readonly number[]) =>
  numbers.map((day) => ({ playedAt: `2024-05-${String(day).padStart(2, "0")}T00:00:00Z` }));

async function readsOf({ deps }: TestApp): Promise<Record<ReadPlace, number>> {
  const counts = { replica: 0, primary: 0, retried: 0 };
  const { values } = await deps.metrics.registry.getSingleMetric("playlog_replica_reads_total")!.get();
  for (const { labels, value } of values) counts[labels["place"] as ReadPlace] = value;
  return counts;
}

const openDatabase = ({ primary, replica }: { primary: string; replica: string }): Database =>
  createDatabase(
    { ...databaseSettings(primary), replica: { url: replica, maxLagMs: MAX_LAG_MS } },
    { applicationName: "playlog-replica-test" },
  );

const readsThrough = (
  database: Database,
  listener: DatabaseListener,
  observe: (place: ReadPlace) => void,
): ReplicaReads =>
  new ReplicaReads({
    primary: database.pool,
    replica: database.replica!,
    listener,
    log: quietLog,
    observe,
  });
