/** What readers see while Redis is in trouble: right answers, soon enough, and nothing old afterwards. */
import { expect } from "chai";
import { Redis } from "ioredis";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { startRefusingRedis, startSlowRedis } from "../support/fakeRedis.js";
import { insertPlays } from "../support/plays.js";
import { startRedis, type OwnServer } from "../support/servers.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy } from "../support/tcpProxy.js";
import { until } from "../support/until.js";

const HISTORY = "/api/v1/listening-history";
const ME = "/api/v1/users/me";
/** How long Redis may be waited for, three times; and how much a busy machine may add to that in a test. */
const PATIENCE_MS = 300;
const NOISE_MS = 700;

/** Reads both pages, checks that they are right, and gives the milliseconds of each call. */
async function readRightly(app: TestApp, user: TestUser, plays: readonly number[]): Promise<number[]> {
  const times: number[] = [];
  for (const path of [HISTORY, ME]) {
    const started = performance.now();
    const { status, body } = await app.as(user).get(path);
    times.push(performance.now() - started);
    expect(status, path).to.equal(200);
    if (path === ME) expect(body.username).to.equal(user.username);
    else expect((body.data as { id: number }[]).map(({ id }) => id)).to.deep.equal(plays);
  }
  return times;
}

async function addPlay(app: TestApp, user: TestUser, hour: number): Promise<number> {
  const playedAt = new Date(Date.UTC(2024, 0, 1, hour)).toISOString();
  const [id = 0] = await insertPlays(app.deps.database.pool, user.id, [{ playedAt }]);
  await app.deps.pages.seen();
  return id;
}

async function outcomes(app: TestApp): Promise<Record<string, number>> {
  const metric = await app.deps.metrics.registry.getSingleMetric("playlog_cache_answers_total")?.get();
  const counts: Record<string, number> = { hit: 0, miss: 0, bypass: 0 };
  for (const { labels, value } of metric?.values ?? []) counts[String(labels["outcome"])]! += value;
  return counts;
}

/** The cache answers again: a page that is asked for twice is a hit. */
const untilNormal = (app: TestApp, user: TestUser): Promise<void> =>
  until("the cache's return", async () => {
    const { hit = 0 } = await outcomes(app);
    await app.as(user).get(ME);
    return ((await outcomes(app))["hit"] ?? 0) > hit;
  });

describe("cached answers while Redis is in trouble", function () {
  this.timeout(60_000);
  let redis: OwnServer;
  let admin: Redis;
  let app: TestApp;
  let user: TestUser;
  let plays: number[];

  before(async () => {
    redis = await startRedis();
    app = await startTestApp({ env: { REDIS_URL: redis.url } });
    admin = new Redis(redis.url, { retryStrategy: () => 100, maxRetriesPerRequest: null });
    admin.on("error", () => {});
  });
  beforeEach(async () => {
    user = await buildUser(app);
    plays = [await addPlay(app, user, 0)];
    await untilNormal(app, user);
    await readRightly(app, user, plays);
  });
  after(async () => {
    admin.disconnect();
    await app.close();
    await redis.close();
  });

  const trouble: readonly {
    name: string;
    begin: () => Promise<unknown>;
    end: () => Promise<unknown>;
  }[] = [
    { name: "is killed", begin: () => redis.kill(), end: () => redis.start() },
    { name: "is frozen", begin: () => redis.freeze(), end: () => redis.thaw() },
  ];
  for (const { name, begin, end } of trouble) {
    it(`are right when it ${name}, cost three short waits and then none, and are never old when it is back`, async () => {
      const before = await outcomes(app);
      await begin();
      const first = [...(await readRightly(app, user, plays)), ...(await readRightly(app, user, plays))];
      const later: number[] = [];
      for (let n = 0; n < 20; n += 1) later.push(...(await readRightly(app, user, plays)));
      for (const ms of first) expect(ms).to.be.below(PATIENCE_MS + NOISE_MS);
      const sum = later.reduce((a, b) => a + b, 0);
      expect(sum / later.length).to.be.below(PATIENCE_MS / 2);
      expect(await outcomes(app)).to.include({ hit: before["hit"] });

      // The pages that Redis still has are from before this.
      plays.unshift(await addPlay(app, user, 1));
      await app.deps.database.pool.query("update users set display_name = 'New' where id = $1", [user.id]);
      await app.deps.pages.seen();
      await readRightly(app, user, plays);

      await end();
      await until("the cache's return", async () => {
        await readRightly(app, user, plays);
        expect((await app.as(user).get(ME)).body.displayName).to.equal("New");
        return (await outcomes(app))["hit"]! > before["hit"]!;
      });
      await readRightly(app, user, plays);
    });
  }

  it("are right when it forgets everything, and kept again at once", async () => {
    await admin.flushall();
    const before = await outcomes(app);
    await readRightly(app, user, plays);
    await readRightly(app, user, plays);
    const after = await outcomes(app);
    expect(after).to.include({ miss: before["miss"]! + 2, hit: before["hit"]! + 2 });
  });

  it("are right when it has no memory left, and what it has still serves", async () => {
    await admin.config("SET", "maxmemory-policy", "noeviction");
    await admin.config("SET", "maxmemory", "1");
    try {
      const { hit = 0 } = await outcomes(app);
      await readRightly(app, user, plays);
      expect((await outcomes(app))["hit"]).to.equal(hit + 2);
      for (let hour = 1; hour < 8; hour += 1) {
        plays.unshift(await addPlay(app, user, hour));
        await readRightly(app, user, plays);
      }
      expect(app.deps.redis.state.breakerOpen).to.equal(false);
      expect(app.logs().match(/redis refuses commands/g)).to.have.length(1);
    } finally {
      await admin.config("SET", "maxmemory", "0");
    }
    plays.unshift(await addPlay(app, user, 9));
    await readRightly(app, user, plays);
    await untilNormal(app, user);
    await readRightly(app, user, plays);
  });

  it("are right when its answers get lost on the way", async () => {
    const proxy = await startTcpProxy(redis.url);
    const muffled = await startTestApp({ beside: app, env: { REDIS_URL: proxy.through(redis.url) } });
    try {
      await readRightly(muffled, user, plays);
      proxy.muffle(); // what is written arrives, and nobody is told
      plays.unshift(await addPlay(muffled, user, 1));
      for (let n = 0; n < 5; n += 1) await readRightly(muffled, user, plays);
      await app.deps.pages.seen();
      await readRightly(app, user, plays);
      plays.unshift(await addPlay(muffled, user, 2));
      proxy.thaw();
      proxy.cut();
      await until("the cache's return", async () => {
        await readRightly(muffled, user, plays);
        return ((await outcomes(muffled))["hit"] ?? 0) > 2;
      });
    } finally {
      await muffled.close();
      await proxy.close();
    }
  });

  for (const error of [
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "NOAUTH Authentication required.",
  ]) {
    it(`are right when it answers everything with -${error.split(" ")[0] ?? ""}`, async () => {
      const refusing = await startRefusingRedis(error);
      const poor = await startTestApp({ beside: app, env: { REDIS_URL: refusing.url } });
      try {
        for (let n = 0; n < 6; n += 1) {
          for (const ms of await readRightly(poor, user, plays))
            expect(ms).to.be.below(PATIENCE_MS + NOISE_MS);
        }
        plays.unshift(await addPlay(poor, user, 1));
        await readRightly(poor, user, plays);
        expect((await outcomes(poor))["hit"]).to.equal(0);
      } finally {
        await poor.close();
        await refusing.close();
      }
    });
  }

  it("wait for one answer of a slow Redis, and a first request for two", async () => {
    const delay = 250;
    const slow = await startSlowRedis(testStack().redisUrl, delay);
    const app = await startTestApp({ env: { REDIS_URL: slow.url, RATE_LIMIT: "on" } });
    try {
      const user = await buildUser(app);
      const [first = 0] = await readRightly(app, user, []);
      expect(first).to.be.below(2 * delay + NOISE_MS);
      await until("a hit", async () => {
        for (const ms of await readRightly(app, user, [])) expect(ms).to.be.below(delay + NOISE_MS);
        return (await outcomes(app))["hit"]! > 0;
      });
    } finally {
      await app.close();
      await slow.close();
    }
  });
});
