/** What must not get out: planted in everything a client sends, looked for in everything that operators see. */
import { Client as TemporalClient, Connection } from "@temporalio/client";
import { expect } from "chai";
import { json, play } from "../services/import/importing.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { registration } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { freePort, type RunningEntry, startEntry } from "../support/processes.js";
import { scrape } from "../support/scrape.js";
import { RawRequest } from "../support/sockets.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../support/tcpProxy.js";
import { until } from "../support/until.js";

const CANARY = "canary-5d1f";
const HISTORY = "/api/v1/listening-history";
/** Sent as text that ends a line, colours a terminal, and looks like a line of the log. */
const NASTY = '\r\n{"level":"error","message":"forged"}\u001b[31m\u0085\u2028<script>alert(1)</script>';

/** For JSON.stringify: payloads as what they say, not as numbers or base64. */
function readable(this: Readonly<Record<string, unknown>>, key: string): unknown {
  const value = this[key];
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : value;
}

describe("what operators see", function () {
  this.timeout(60_000);
  let database: TcpProxy;
  let whole: TestApp;
  let app: TestApp;
  let worker: RunningEntry;
  let workerOpsPort: number;
  let told = "";
  const secrets = new Set<string>([CANARY]);
  const account = registration({
    email: `${CANARY}-mail@example.org`,
    password: `${CANARY} of a password`,
    displayName: `${CANARY} of a name`,
  });
  let token: string;
  let userId: string;

  before(async () => {
    whole = await startTestApp();
    database = await startTcpProxy(whole.databaseUrl);
    app = await startTestApp({
      beside: whole,
      env: { DATABASE_URL: database.through(whole.databaseUrl), LOG_SQL: "all" },
    });
    workerOpsPort = await freePort();
    worker = await startEntry("activities/worker.ts", {
      PLAYLOG_HOME: app.config.home,
      DATABASE_URL: whole.databaseUrl,
      TEMPORAL_TASK_QUEUE: app.config.temporal.taskQueue,
      PLAYLOG_WORKFLOW_BUNDLE: testStack().workflowBundle,
      WORKER_OPS_PORT: String(workerOpsPort),
      LOG_LEVEL: "debug",
      LOG_SQL: "all",
    });
    for (const stream of [worker.child.stdout, worker.child.stderr])
      stream?.on("data", (chunk: Buffer) => (told += chunk.toString()));

    const { body } = expectStatus(201, await app.anonymous.post("/api/v1/auth/register", account));
    token = body.accessToken;
    userId = body.user.id;
    for (const secret of [body.accessToken, body.refreshToken, account.password, account.email])
      secrets.add(secret);
  });
  after(async () => {
    await worker.stop();
    await app.close();
    await whole.close();
    await database.close();
  });

  const expectClean = (text: string, where: string): void => {
    for (const secret of secrets) {
      const at = text.indexOf(secret);
      expect(at === -1 ? "" : text.slice(Math.max(0, at - 200), at + 100), where).to.equal("");
    }
  };
  const expectProblem = (answer: Answer, ...statuses: readonly number[]): void => {
    expect(answer.status, JSON.stringify(answer.body)).to.be.oneOf(statuses);
    expectClean(JSON.stringify(answer.body), "a problem");
  };
  const own = () => app.as({ accessToken: token });
  const listen = (title: string, playedAt = "2024-01-01T00:00:00Z") => ({
    playedAt,
    track: { title, artist: `${CANARY} of an artist`, album: `${CANARY} of an album` },
  });

  it("is nothing of a client's words when all goes well, and when it does not", async () => {
    const { anonymous } = app;
    const login = (fields: object): Promise<Answer> => anonymous.post("/api/v1/auth/login", fields);
    const { body } = expectStatus(200, await login({ email: account.email, password: account.password }));
    secrets.add(body.accessToken).add(body.refreshToken);
    expectStatus(200, await anonymous.post("/api/v1/auth/refresh", { refreshToken: body.refreshToken }));
    expectStatus(200, await own().get("/api/v1/users/me"));
    expectStatus(201, await own().post(HISTORY, listen(`${CANARY} of a title`)));
    expectStatus(200, await own().get(`${HISTORY}?artist=${CANARY}%20of%20an%20artist`));

    expectProblem(await login({ login: account.email, password: `${CANARY} that is wrong` }), 401);
    expectProblem(await login({ login: CANARY, password: CANARY, [`${"x".repeat(5)}`]: CANARY }), 400);
    expectProblem(
      await anonymous.post("/api/v1/auth/login", undefined, {
        raw: `{"password":"${CANARY}`,
        headers: { "content-type": "application/json" },
      }),
      400,
    );
    expectProblem(await anonymous.post("/api/v1/auth/register", account), 409);
    expectProblem(
      await anonymous.post("/api/v1/auth/register", {
        email: `${CANARY}@@example.org`,
        username: `${CANARY} !`,
        password: CANARY.slice(0, 11),
        displayName: `${CANARY}\u0000`,
      }),
      400,
    );
    expectProblem(await anonymous.post("/api/v1/auth/refresh", { refreshToken: `${CANARY}-token` }), 401);
    expectProblem(await app.as({ accessToken: `${CANARY}.token` }).get("/api/v1/users/me"), 401);
    expectProblem(await own().get(`/api/v1/users/${CANARY}`), 404);
    expectProblem(await own().get(`/${CANARY}?token=${CANARY}`), 404);
    expectProblem(await own().get(`${HISTORY}?from=${CANARY}&cursor=${CANARY}.`), 400);
    expectProblem(await own().post(HISTORY, { playedAt: CANARY, track: { title: [CANARY] } }), 400);
    expectClean(app.logs(), "the log of the api");
  });

  it("is nothing of them when something breaks", async () => {
    await whole.deps.database.pool.query(
      "alter table users add constraint test_refuses check (display_name not like '%that breaks')",
    );
    // Nobody foresaw it, so it is in no document either.
    const unforeseen = await fetch(`${app.url}/api/v1/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(registration({ displayName: `${CANARY} that breaks` })),
    });
    expect(unforeseen.status).to.equal(500);
    expectClean(await unforeseen.text(), "a problem");
    expect(app.logs()).to.include("test_refuses").and.include('"failed":"23514"');
    await database.refuse();
    try {
      expectProblem(
        await app.anonymous.post("/api/v1/auth/login", { login: account.email, password: account.password }),
        503,
      );
      expectProblem(
        await app.anonymous.post("/api/v1/auth/register", registration({ email: `${CANARY}-2@example.org` })),
        503,
      );
      expectProblem(await own().post(HISTORY, listen(`${CANARY} of another title`)), 503);
    } finally {
      await database.accept();
    }
    await until("the database's return", async () => (await own().get("/api/v1/users/me")).status === 200);
    expectClean(app.logs(), "the log of the api");
  });

  it("is nothing of what is imported: not in the worker's log, not in Temporal, not in the metrics", async () => {
    const upload = async (raw: Buffer | string): Promise<Record<string, unknown>> => {
      const { body } = await own().post(`/api/v1/imports?filename=${CANARY}.json`, undefined, {
        raw,
        headers: { "content-type": "application/json" },
      });
      await until(
        "its end",
        async () => (await own().get(`/api/v1/imports/${body.id}`)).body.finishedAt !== null,
        30_000,
      );
      return (await own().get(`/api/v1/imports/${body.id}`)).body as Record<string, unknown>;
    };
    const named = { title: `${CANARY} of a title`, artist: `${CANARY} of an artist`, album: CANARY };
    await whole.deps.database.pool.query(
      "alter table tracks add constraint test_refuses_too check (title not like '%that breaks')",
    );
    const mixed = await upload(
      json([
        play(1, named),
        play(2, { ...named, at: `${CANARY} of a time` }),
        play(3, { title: `${CANARY} that breaks` }),
      ]),
    );
    expect(mixed["counts"]).to.include({ read: 3, inserted: 1, rejected: 2 });
    const failed = await upload(`{"${CANARY}":"${CANARY}"}`);
    expect(failed["status"]).to.equal("failed");

    const connection = await Connection.connect({ address: testStack().temporalAddress });
    try {
      const { workflow } = new TemporalClient({ connection });
      for (const { workflowId } of [mixed, failed]) {
        const history = await workflow.getHandle(String(workflowId)).fetchHistory();
        const payloads = JSON.stringify(history, readable);
        expect(payloads).to.include(userId);
        expectClean(payloads, "a workflow");
      }
    } finally {
      await connection.close();
    }
    expectClean(told, "the log of the worker");
    expect(told).to.include('"message":"import ended"').and.include('"message":"sql"');
    expectClean((await scrape(workerOpsPort)).text, "the metrics of the worker");
    expectClean(await app.deps.metrics.registry.metrics(), "the metrics of the api");
    expectClean(app.logs(), "the log of the api");
  });

  it("is one line for each event, whatever somebody is called", async () => {
    const earlier = app.logs().length;
    expectStatus(201, await own().post(HISTORY, listen(NASTY, "2024-01-02T00:00:00Z")));
    const nasty = app.as({ accessToken: `x${encodeURIComponent(NASTY)}` });
    expectStatus(401, await nasty.get("/api/v1/users/me"));
    const raw = new RawRequest(app.port);
    await raw.head("GET", `/api/v1/${encodeURIComponent(NASTY)}`, {
      "User-Agent": "\u001b[31m forged",
      "X-Request-Id": "forged\tid",
      Connection: "close",
    });
    const { status } = await raw.answer();
    expect(status).to.be.oneOf([400, 404]);
    raw.destroy();
    const lines = app.logs().slice(earlier).split("\n").slice(0, -1);
    for (const line of lines) {
      expect(JSON.parse(line)).to.have.property("service", "api");
      expect(line).to.not.match(/forged|\p{Cc}|\u2028/u);
    }
  });

  it("is no page that runs what somebody is called", async () => {
    const { headers, body } = await own().get(HISTORY);
    expect(body.data[0].track.title).to.include("<script>");
    expect(headers.get("content-type")).to.match(/^application\/json/);
    expect(headers.get("x-content-type-options")).to.equal("nosniff");
  });
});
