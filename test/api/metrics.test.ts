import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { registration } from "../support/factories.js";
import { httpClient } from "../support/http.js";
import { freePort, type RunningEntry, startEntry } from "../support/processes.js";
import { type Scrape, scrape } from "../support/scrape.js";
import { RawRequest } from "../support/sockets.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../support/tcpProxy.js";

describe("the metrics of the api", function () {
  this.timeout(60_000);
  let database: TestDatabase;
  let redis: TcpProxy;
  let home: string;
  let port: number;
  let opsPort: number;
  let api: RunningEntry;

  before(async () => {
    database = await createTestDatabase();
    redis = await startTcpProxy(testStack().redisUrl);
    home = await mkdtemp(path.join(tmpdir(), "playlog-api-metrics-"));
    [port, opsPort] = [await freePort(), await freePort()];
    api = await startEntry("api/server.ts", settings());
  });
  after(async () => {
    await api.stop("SIGKILL");
    await redis.close();
    await database.drop();
    await rm(home, { recursive: true, force: true });
  });

  const settings = (): Record<string, string> => ({
    PLAYLOG_HOME: home,
    PORT: String(port),
    OPS_PORT: String(opsPort),
    DATABASE_URL: database.url,
    REDIS_URL: redis.through(testStack().redisUrl),
    TEMPORAL_ADDRESS: testStack().temporalAddress,
    BCRYPT_COST: "4",
  });
  const client = (token: string | null = null) => httpClient(`http://127.0.0.1:${port}`, token);
  const REQUESTS = "playlog_http_request_seconds_count";
  const until = async (what: string, found: (now: Scrape) => boolean): Promise<Scrape> => {
    for (const deadline = Date.now() + 20_000; ; await sleep(20)) {
      const now = await scrape(opsPort);
      if (found(now)) return now;
      if (Date.now() > deadline) throw new Error(`not in time: ${what}\n${now.text}`);
    }
  };
  const requests = (now: Scrape): number => now.value(REQUESTS) ?? 0;

  it("count each request once, by method, template of the route and status, and name nobody", async () => {
    const before = requests(await scrape(opsPort));
    const account = registration();
    const { body } = await client().post("/api/v1/auth/register", account);
    const own = client(body.accessToken);
    await own.get("/api/v1/users/me");
    await own.get(`/api/v1/users/${body.user.id}`);
    await own.get("/api/v1/imports/00000000-0000-7000-8000-000000000000");
    await client().get("/no/such/path-of-somebody");
    await client().get("/api/v1/users/me");
    await client("not-a-token").get("/api/v1/users/me");
    await client().post("/api/v1/auth/login", { login: account.email, password: "not this one at all" });
    await client().post("/api/v1/auth/refresh", { refreshToken: "x".repeat(43) });

    const now = await until("nine requests", (found) => requests(found) === before + 9);
    const found = (labels: Record<string, string>): number | undefined => now.value(REQUESTS, labels);
    expect(found({ method: "POST", route: "/api/v1/auth/register", status: "201" })).to.equal(1);
    expect(found({ method: "GET", route: "/api/v1/users/me", status: "200" })).to.equal(1);
    expect(found({ method: "GET", route: "/api/v1/users/me", status: "401" })).to.equal(2);
    expect(found({ method: "GET", route: "/api/v1/users/:id", status: "200" })).to.equal(1);
    expect(found({ method: "GET", route: "/api/v1/imports/:id", status: "404" })).to.equal(1);
    expect(found({ method: "GET", route: "unmatched", status: "404" })).to.equal(1);
    expect(now.by("kind", "playlog_auth_failures_total")).to.deep.equal({ token: 2, login: 1, refresh: 1 });
    expect(now.value("playlog_http_requests_in_flight")).to.equal(0);
    for (const personal of [account.email, account.username, body.user.id, "somebody", body.accessToken])
      expect(now.text).to.not.include(personal);
  });

  it("count uploads and their bytes, those that broke off apart", async () => {
    const { body } = await client().post("/api/v1/auth/register", registration());
    const before = await scrape(opsPort);
    const content = JSON.stringify([{ ts: "2020-01-01T00:00:00Z" }]);
    const { status } = await client(body.accessToken).post("/api/v1/imports", undefined, {
      raw: content,
      headers: { "content-type": "application/json" },
    });
    expect(status).to.equal(202);

    const raw = new RawRequest(port);
    await raw.head("POST", "/api/v1/imports", {
      Authorization: `Bearer ${body.accessToken}`,
      "Content-Type": "application/json",
      "Content-Length": 1000,
    });
    await raw.write("[");
    const during = await until("an upload", (now) => now.value("playlog_uploads_in_flight") === 1);
    expect(during.value("playlog_http_requests_in_flight")).to.equal(1);
    raw.destroy();

    const now = await until(
      "its end",
      (found) => found.value("playlog_uploads_total", { outcome: "failed" }) === 1,
    );
    const grown = (name: string): number => (now.value(name) ?? 0) - (before.value(name) ?? 0);
    expect(now.by("outcome", "playlog_uploads_total")).to.deep.equal({ stored: 1, failed: 1 });
    expect(grown("playlog_upload_bytes_total")).to.equal(content.length);
    const over = await until(
      "nothing under way",
      (found) => found.value("playlog_http_requests_in_flight") === 0,
    );
    expect(over.value("playlog_uploads_in_flight")).to.equal(0);
    expect(over.value(REQUESTS, { route: "/api/v1/imports", status: "aborted" })).to.equal(1);
  });

  it("count listeners to the events of imports while they listen", async () => {
    const { body } = await client().post("/api/v1/auth/register", registration());
    const upload = await client(body.accessToken).post("/api/v1/imports", undefined, {
      raw: JSON.stringify([{ ts: "2021-01-01T00:00:00Z" }]),
      headers: { "content-type": "application/json" },
    });
    const stop = new AbortController();
    const stream = await fetch(`http://127.0.0.1:${port}/api/v1/imports/${upload.body.id}/events`, {
      headers: { authorization: `Bearer ${body.accessToken}` },
      signal: stop.signal,
    });
    expect(stream.status).to.equal(200);
    await until("a listener", (now) => now.value("playlog_event_streams_open") === 1);
    stop.abort();
    await until("its end", (now) => now.value("playlog_event_streams_open") === 0);
  });

  it("hold the process, both pools and Redis, whose loss shows", async () => {
    const now = await scrape(opsPort);
    expect(now.value("process_resident_memory_bytes")).to.be.greaterThan(1e7);
    expect(now.names).to.include("nodejs_eventloop_lag_p99_seconds");
    for (const pool of ["knex", "pg"]) {
      expect(now.value("playlog_pool_max", { pool })).to.equal(10);
      expect(now.value("playlog_pool_waiting", { pool })).to.equal(0);
      const used = { pool, state: "used" };
      await until(`nobody to use ${pool}`, (found) => found.value("playlog_pool_connections", used) === 0);
    }
    expect(now.value("playlog_redis_up")).to.equal(1);
    await redis.refuse();
    await until("the loss of Redis", (found) => found.value("playlog_redis_up") === 0);
    await redis.accept();
    await until("its return", (found) => found.value("playlog_redis_up") === 1);
  });

  it("are not on the public port, and nothing else is on theirs", async () => {
    expect((await client().get("/metrics")).status).to.equal(404);
    const ops = (where: string, method = "GET"): Promise<Response> =>
      fetch(`http://127.0.0.1:${opsPort}${where}`, { method });
    expect((await ops("/metrics")).headers.get("content-type")).to.match(/^text\/plain; version=0\.0\.4/);
    expect((await ops("/metrics", "HEAD")).status).to.equal(200);
    expect((await ops("/metrics", "POST")).status).to.equal(405);
    for (const where of ["/", "/health", "/api/v1/users/me", "/metrics/"])
      expect((await ops(where)).status, where).to.equal(404);
  });

  it("end the start with one sentence when their port is taken", async () => {
    const taken = await freePort();
    const other = createServer().listen(taken, "127.0.0.1");
    await once(other, "listening");
    try {
      const second = { ...settings(), PORT: String(await freePort()), OPS_PORT: String(taken) };
      const failed = await startEntry("api/server.ts", second).catch((error: Error) => error.message);
      expect(failed).to.match(
        new RegExp(`OPS_PORT: 127\\.0\\.0\\.1:${taken} cannot be used, another program listens there\n$`),
      );
    } finally {
      other.close();
    }
  });

  it("can be asked for while the last requests are answered, and keep the process from nothing", async () => {
    const body = JSON.stringify(registration());
    const raw = new RawRequest(port);
    await raw.head("POST", "/api/v1/auth/register", {
      "Content-Type": "application/json",
      "Content-Length": Buffer.byteLength(body),
    });
    await raw.write(body.slice(0, 20));
    await until("the request", (now) => now.value("playlog_http_requests_in_flight") === 1);
    const ended = api.stop("SIGTERM");
    for (let refused = false; !refused; await sleep(20))
      refused = await client()
        .get("/health")
        .then(
          () => false,
          () => true,
        );
    expect((await scrape(opsPort)).value("playlog_http_requests_in_flight")).to.equal(1);
    await raw.write(body.slice(20));
    expect((await raw.answer()).status).to.equal(201);
    expect(await ended).to.equal(0);
  });
});
