import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../support/tcpProxy.js";

const ROOTS = ["", "/api/v1"];

describe("health", () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp();
  });
  after(() => app.close());

  it("is there without a token, at the root and under /api/v1, also with parameters of a probe", async () => {
    for (const root of ROOTS) {
      for (const check of ["", "/ready", "/db", "/dependencies"]) {
        expectStatus(200, await app.anonymous.get(`${root}/health${check}`));
      }
      expectStatus(200, await app.anonymous.get(`${root}/health?probe=1`));
    }
    expect((await app.anonymous.get("/health")).body).to.deep.equal({ status: "ok" });
  });

  it("tells the state of the database and of both pools", async () => {
    const { body } = await app.anonymous.get("/api/v1/health/db");
    expect(body).to.have.all.keys("primary", "replica");
    expect(body.replica).to.equal(null);
    expect(body.primary).to.include({ state: "up" });
    expect(body.primary.latencyMs).to.be.within(0, 1000);
    expect(body.primary.migration).to.match(/^\d{14}_\w+/);
    for (const pool of ["knex", "pg"]) {
      expect(body.primary.pools[pool]).to.have.all.keys("min", "max", "used", "free", "pending");
      expect(body.primary.pools[pool]).to.include({ max: app.config.database.poolMax, pending: 0 });
    }
  });

  it("counts connections in use and callers that wait", async () => {
    const { pool } = app.deps.database;
    const max = app.config.database.poolMax;
    const taken = await Promise.all(Array.from({ length: max }, () => pool.connect()));
    const waiting = pool.query("select 1");
    try {
      const { body } = await app.anonymous.get("/health/db");
      expect(body.primary.state).to.equal("up");
      expect(body.primary.pools.pg).to.include({ used: max, free: 0 });
      expect(body.primary.pools.pg.pending).to.be.at.least(1);
    } finally {
      for (const client of taken) client.release();
      await waiting;
    }
  });

  it("tells the state of Redis, Temporal and the store of uploads", async () => {
    const { body } = await app.anonymous.get("/health/dependencies");
    expect(body).to.have.all.keys("status", "redis", "queue", "temporal", "blobStore");
    expect(body.redis.ok).to.equal(true);
    expect(body.redis.latencyMs).to.be.within(0, 1000);
    expect(body.temporal).to.include({ ok: true });
    expect(body.queue).to.deep.equal({ kind: "temporal", ...body.temporal });
    expect(body.blobStore).to.include({ ok: true });
    expect(body.status).to.equal("ok");
  });

  it("says that nobody uses Temporal where imports run on BullMQ", async () => {
    const env = { IMPORT_QUEUE: "bullmq", BULL_QUEUE: `health-${randomUUID()}`, TEMPORAL_ADDRESS: "" };
    const other = await startTestApp({ beside: app, env });
    try {
      const { body } = await other.anonymous.get("/health/dependencies");
      expect(body).to.deep.include({ status: "ok", temporal: null });
      expect(body.queue).to.include({ kind: "bullmq", ok: true, detail: null });
    } finally {
      await other.close();
    }
  });
});

describe("health without its parts", () => {
  let app: TestApp;
  let database: TcpProxy;
  let gone: TcpProxy;
  before(async () => {
    const whole = await startTestApp();
    database = await startTcpProxy(whole.databaseUrl);
    gone = await startTcpProxy(testStack().redisUrl);
    await gone.close();
    app = await startTestApp({
      beside: whole,
      env: {
        DATABASE_URL: database.through(whole.databaseUrl),
        REDIS_URL: gone.through(testStack().redisUrl),
        TEMPORAL_ADDRESS: new URL(gone.through("redis://x:1")).host,
        DB_CONNECT_TIMEOUT_MS: "500",
      },
    });
    const close = app.close.bind(app);
    app.close = async () => {
      await close();
      await whole.close();
    };
  });
  after(async () => {
    await database.close();
    await app.close();
  });

  it("is ready without Redis and Temporal, and says that they are missing", async function () {
    this.timeout(15_000);
    expectStatus(200, await app.anonymous.get("/health/ready"));
    const { status, body } = await app.anonymous.get("/health/dependencies");
    expect(status).to.equal(200);
    expect(body).to.deep.include({ status: "degraded", redis: { ok: false, latencyMs: null } });
    expect(body.temporal.ok).to.equal(false);
    expect(body.blobStore.ok).to.equal(true);
  });

  it("is alive but not ready without its database, and recovers by itself", async function () {
    this.timeout(20_000);
    database.freeze();
    database.cut();
    for (const check of ["/health/ready", "/health/db"]) {
      const started = performance.now();
      const answer = await app.anonymous.get(check);
      expect(answer.status).to.equal(503);
      expect(answer.headers.get("content-type")).to.equal("application/problem+json");
      expect(answer.headers.get("retry-after")).to.equal("5");
      expect(answer.body.code).to.equal("database");
      expect(performance.now() - started).to.be.below(3000);
    }
    expect((await app.anonymous.get("/health/db")).body.primary).to.include({
      state: "down",
      latencyMs: null,
    });
    expectStatus(200, await app.anonymous.get("/health"));

    database.thaw();
    database.cut();
    const deadline = Date.now() + 10_000;
    while ((await app.anonymous.get("/health/ready")).status !== 200) {
      expect(Date.now()).to.be.below(deadline);
    }
    expect((await app.anonymous.get("/health/db")).body.primary.state).to.equal("up");
  });
});
