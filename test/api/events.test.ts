import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { EventStream } from "../support/eventStream.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { startTcpProxy } from "../support/tcpProxy.js";

const PATH = "/api/v1/imports";
const POLL_MS = 50;
const KEEP_ALIVE_MS = 200;
const STREAMS_PER_USER = 12;

/** The task queue of this app has no worker: an import changes when a test says so. */
describe("GET /imports/{id}/events", () => {
  let app: TestApp;
  let user: TestUser;
  const streams: EventStream[] = [];

  before(async () => {
    app = await startTestApp({
      env: {
        EVENTS_POLL_MS: String(POLL_MS),
        EVENTS_KEEP_ALIVE_MS: String(KEEP_ALIVE_MS),
        EVENT_STREAMS_PER_USER: String(STREAMS_PER_USER),
      },
    });
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  afterEach(() => {
    for (const stream of streams.splice(0)) stream.close();
  });
  after(() => app.close());

  const upload = async (content = "[]"): Promise<string> => {
    const options = { raw: content, headers: { "content-type": "application/json" } };
    return expectStatus(202, await app.as(user).post(PATH, undefined, options)).body.id as string;
  };
  const open = async (
    id: string,
    { headers = {}, at = app }: { headers?: Readonly<Record<string, string>>; at?: TestApp } = {},
  ): Promise<EventStream> => {
    const stream = await EventStream.open(`${at.url}${PATH}/${id}/events`, user.accessToken, headers);
    streams.push(stream);
    return stream;
  };
  /** Makes a visible change and gives the version it has led to. */
  const change = async (id: string, more = ""): Promise<number> => {
    const { rows } = await app.deps.database.pool.query<{ version: number }>(
      `update import_jobs set version = version + 1 ${more} where id = $1 returning version`,
      [id],
    );
    return rows[0]?.version ?? 0;
  };
  const close = (id: string, status: string): Promise<number> =>
    change(id, `, status = '${status}', finished_at = now()`);
  const version = async (id: string): Promise<number> =>
    (
      await app.deps.database.pool.query<{ version: number }>(
        "select version from import_jobs where id = $1",
        [id],
      )
    ).rows[0]?.version ?? 0;

  it("begins with the import as it is, exactly as it is shown elsewhere", async () => {
    const id = await upload();
    const stream = await open(id);
    expect(stream.status).to.equal(200);
    expect(stream.headers.get("content-type")).to.equal("text/event-stream");
    expect(stream.headers.get("cache-control")).to.equal("no-store");
    expect(stream.headers.get("x-accel-buffering")).to.equal("no");
    expect(stream.headers.get("x-request-id")).to.be.a("string");
    expect(await stream.block()).to.equal("retry");
    const event = await stream.event();
    const shown = expectStatus(200, await app.as(user).get(`${PATH}/${id}`));
    expect(event).to.deep.equal({ id: String(await version(id)), event: "job", data: shown.body });
  });

  it("tells each change, and ends after the one that ends the import", async () => {
    const id = await upload();
    const stream = await open(id);
    expect((await stream.event())?.data.status).to.equal("queued");
    const running = await change(id, ", status = 'running', started_at = now()");
    expect(await stream.event()).to.deep.include({ id: String(running), event: "job" });
    await change(id, ", status = 'paused'");
    expect((await stream.event())?.data).to.deep.include({ status: "paused" });
    const completed = await close(id, "completed");
    const [last, ...more] = await stream.rest();
    expect(more).to.deep.equal([]);
    expect(last?.id).to.equal(String(completed));
    expect(last?.data).to.deep.include({ status: "completed" });
  });

  for (const status of ["completed", "completed_with_errors", "failed", "cancelled", "undone"]) {
    it(`shows an import that is ${status} once and ends, and has nothing to add for who knows that`, async () => {
      const id = await upload();
      const last = String(await close(id, status));
      const events = await (await open(id)).rest();
      expect(events.map((event) => [event.id, event.data.status])).to.deep.equal([[last, status]]);
      const again = await open(id, { headers: { "last-event-id": last } });
      expect(again.status).to.equal(204);
      expect(await again.rest()).to.deep.equal([]);
    });
  }

  it("follows an undo, for who has seen the end of the import as well", async () => {
    const id = await upload();
    const completed = await close(id, "completed");
    await change(id, ", status = 'undoing'");
    const stream = await open(id, { headers: { "last-event-id": String(completed) } });
    expect((await stream.event())?.data.status).to.equal("undoing");
    await change(id, ", status = 'undone'");
    expect((await stream.rest()).map((event) => event.data.status)).to.deep.equal(["undone"]);
  });

  it("sends nothing before the next change to a client that has the present version", async () => {
    const id = await upload();
    const stream = await open(id, { headers: { "last-event-id": String(await version(id)) } });
    expect(await stream.block()).to.equal("retry");
    for (let comments = 0; comments < 3; comments += 1) expect(await stream.block()).to.equal("comment");
    const next = await change(id);
    expect((await stream.event())?.id).to.equal(String(next));
  });

  it("shows the present state to a client that has an older version, or none that can be", async () => {
    const id = await upload();
    const old = await version(id);
    const present = await change(id);
    for (const given of [
      String(old),
      "",
      "-1",
      "x",
      "1e3",
      "9".repeat(400),
      `${present}.0`,
      String(present + 5),
    ]) {
      const stream = await open(id, { headers: { "last-event-id": given } });
      expect((await stream.event())?.id, given).to.equal(String(present));
      stream.close();
    }
  });

  it("shows a client that joins others the state of that moment, not the one last looked up", async () => {
    const id = await upload();
    const first = await open(id);
    await first.event();
    for (let times = 0; times < 5; times += 1) {
      const present = await change(id);
      const joining = await open(id);
      expect((await joining.event())?.id).to.equal(String(present));
      joining.close();
    }
  });

  it("asks the database once for all listeners, reads each change once, and stops with the last of them", async () => {
    const id = await upload();
    const { pool } = app.deps.database;
    const counted = { polls: 0, reads: 0 };
    const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
    pool.query = ((...args: unknown[]) => {
      const [statement] = args;
      if (typeof statement === "object" && (statement as { name?: string }).name === "job-feed")
        counted.polls += 1;
      if (typeof statement === "string" && /from import_jobs where id = \$1$/.test(statement))
        counted.reads += 1;
      return query(...args);
    }) as typeof pool.query;
    try {
      const started = performance.now();
      const listeners = await Promise.all(Array.from({ length: 10 }, () => open(id)));
      for (const listener of listeners) await listener.event();
      const readsBefore = counted.reads;
      const changes = 4;
      for (let times = 0; times < changes; times += 1) {
        await change(id);
        const seen = await Promise.all(listeners.map(async (listener) => (await listener.event())?.id));
        expect(new Set(seen).size).to.equal(1);
      }
      expect(counted.reads - readsBefore).to.equal(changes);
      // One that every listener began for itself at most, and one an interval.
      const most = listeners.length + (performance.now() - started) / POLL_MS + 1;
      expect(counted.polls).to.be.within(changes, Math.ceil(most));

      for (const listener of listeners) listener.close();
      let polls = -1;
      while (polls !== counted.polls) {
        polls = counted.polls;
        await sleep(POLL_MS * 5);
      }
      await change(id);
      await sleep(POLL_MS * 5);
      expect(counted.polls, "after the last listener went").to.equal(polls);
    } finally {
      pool.query = query as typeof pool.query;
    }
  });

  it("ends when the session does", async () => {
    const id = await upload();
    const stream = await open(id);
    await stream.event();
    expectStatus(204, await app.as(user).post("/api/v1/auth/logout"));
    expect(await stream.rest()).to.deep.equal([]);
  });

  for (const [what, statement] of [
    ["the account is disabled", "update users set disabled_at = now() where id = $1"],
    ["the account is deleted", "delete from users where id = $1"],
    ["the import is deleted", "delete from import_jobs where user_id = $1"],
  ] as const) {
    it(`ends when ${what}`, async () => {
      const id = await upload();
      const stream = await open(id);
      await stream.event();
      await app.deps.database.pool.query(statement, [user.id]);
      expect(await stream.rest()).to.deep.equal([]);
    });
  }

  it("goes on though another import that is listened to cannot be shown", async () => {
    const [broken, whole] = [await upload("[1]"), await upload("[2]")];
    for (const id of [broken, whole]) await (await open(id)).event();
    const [, listener] = streams;
    await change(broken, `, totals = '{}'`);
    const present = await change(whole);
    expect((await listener?.event())?.id).to.equal(String(present));
  });

  it("rides out a database that is away, and goes on when it is back", async () => {
    const proxy = await startTcpProxy(app.databaseUrl);
    const other = await startTestApp({
      beside: app,
      env: {
        DATABASE_URL: proxy.through(app.databaseUrl),
        EVENTS_POLL_MS: String(POLL_MS),
        EVENTS_KEEP_ALIVE_MS: String(KEEP_ALIVE_MS),
      },
    });
    try {
      const id = await upload();
      const stream = await open(id, { at: other });
      await stream.event();
      await proxy.refuse();
      while (!other.logs().includes("imports cannot be watched")) await sleep(10);
      const missed = await change(id);
      for (let comments = 0; comments < 5; comments += 1) expect(await stream.block()).to.equal("comment");
      await proxy.accept();
      expect((await stream.event())?.id).to.equal(String(missed));
      expect(other.logs().match(/imports cannot be watched/g), "said once").to.have.length(1);
    } finally {
      await other.close();
      await proxy.close();
    }
  });

  it("lets each user listen so often at once and no more", async () => {
    const id = await upload();
    const all = await Promise.all(Array.from({ length: STREAMS_PER_USER }, () => open(id)));
    expect(all.map(({ status }) => status)).to.deep.equal(all.map(() => 200));
    const refused = expectStatus(429, await app.as(user).get(`${PATH}/${id}/events`));
    expect(refused.body.code).to.equal("too_many_streams");
    expect(Number(refused.headers.get("retry-after"))).to.be.greaterThan(0);

    const mine = user;
    user = await buildUser(app);
    expect((await open(await upload())).status, "somebody else").to.equal(200);
    user = mine;

    all[0]?.close();
    for (;;) {
      const again = await open(id);
      if (again.status === 200) break;
      await sleep(10);
    }
  });

  it("keeps nothing for a client that reads slowly: it gets the newest state when it reads on", async function () {
    this.timeout(60_000);
    const id = await upload();
    await app.deps.database.pool.query(
      `insert into import_parts (job_id, part_no, name, format, status, bytes_total)
       select $1, n, repeat('x', 1500), 'spotify-extended', 'queued', 1 from generate_series(1, 2000) n`,
      [id],
    );
    const slow = net.connect(app.port, "127.0.0.1");
    const ids: string[] = [];
    let bytes = 0;
    slow.setEncoding("latin1").on("data", (text: string) => {
      bytes += text.length;
      for (const match of text.matchAll(/^id: (\d+)$/gm)) ids.push(match[1] ?? "");
    });
    slow.write(
      [
        `GET ${PATH}/${id}/events HTTP/1.1`,
        "Host: localhost",
        "Connection: close",
        `Authorization: Bearer ${user.accessToken}`,
        "\r\n",
      ].join("\r\n"),
    );
    while (ids.length === 0) await once(slow, "data");
    slow.pause();
    const fast = await open(id);
    await fast.event();
    const changes = 20;
    for (let times = 0; times < changes; times += 1) {
      const next = String(await change(id));
      expect((await fast.event())?.id).to.equal(next);
    }
    const last = String(await close(id, "completed"));
    expect((await fast.rest()).map((event) => event.id)).to.deep.equal([last]);

    slow.resume();
    await once(slow, "end");
    expect(ids.at(-1), "the newest").to.equal(last);
    expect(ids.length, `events in ${bytes} bytes`).to.be.below(changes / 2);
    slow.destroy();
  });

  it("ends with its connection, also while it waits there for another to end", async () => {
    const id = await upload();
    const { host, hostname, port } = new URL(app.url);
    const request = `GET ${PATH}/${id}/events HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${user.accessToken}\r\n\r\n`;
    const listening = async (): Promise<number> =>
      (await app.deps.metrics.registry.getSingleMetric("playlog_event_streams_open")?.get())?.values[0]
        ?.value ?? NaN;
    while ((await listening()) > 0) await sleep(10); // those of the test before
    const socket = net.connect(Number(port), hostname);
    socket.write(request.repeat(STREAMS_PER_USER)); // one after the other on one connection
    while ((await listening()) < STREAMS_PER_USER) await sleep(10);
    socket.destroy();
    while ((await listening()) > 0) await sleep(10);
    expect((await (await open(id)).event())?.id).to.equal(String(await version(id)));
  });

  it("answers HEAD with the head alone", async () => {
    const id = await upload();
    const answer = await app.as(user).request("HEAD", `${PATH}/${id}/events`);
    expect([answer.status, answer.body]).to.deep.equal([200, null]);
    expect(answer.headers.get("content-type")).to.equal("text/event-stream");
  });

  it("takes the token from the header only", async () => {
    const id = await upload();
    const query = `access_token=${user.accessToken}`;
    expectStatus(401, await app.anonymous.get(`${PATH}/${id}/events?${query}`));
    expectStatus(400, await app.as(user).get(`${PATH}/${id}/events?${query}`));
  });

  it("is one line in the log, when it is over", async () => {
    const id = await upload();
    const requestId = `watching-${id}`;
    const lines = (): Record<string, unknown>[] =>
      app
        .logs()
        .split("\n")
        .filter((line) => line.includes(requestId))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    const stream = await open(id, { headers: { "x-request-id": requestId } });
    await stream.event();
    expect(lines()).to.deep.equal([]);
    await close(id, "completed");
    await stream.rest();
    while (lines().length === 0) await sleep(5);
    expect(lines()).to.have.length(1);
    expect(lines()[0]).to.deep.include({
      level: "info",
      method: "GET",
      route: `${PATH}/:id/events`,
      status: 200,
      userId: user.id,
    });
  });
});
