import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { GRACE_SECONDS } from "../../services/auth/sessionRows.js";
import { SESSION_COPY_SECONDS } from "../../services/auth/SessionStore.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../support/tcpProxy.js";

type Tokens = Pick<TestUser, "accessToken" | "refreshToken">;

const sessionOf = ({ refreshToken }: Pick<Tokens, "refreshToken">): string =>
  refreshToken.split(".")[0] ?? "";

const statusOf = async (app: TestApp, tokens: Pick<Tokens, "accessToken">): Promise<number> =>
  (await app.as(tokens).get("/api/v1/users/me")).status;

const refresh = (app: TestApp, refreshToken: string) =>
  app.anonymous.post("/api/v1/auth/refresh", { refreshToken });

const rotate = async (app: TestApp, refreshToken: string): Promise<Tokens> =>
  expectStatus(200, await refresh(app, refreshToken)).body as Tokens;

const logIn = async (app: TestApp, { email, password }: TestUser): Promise<Tokens> =>
  expectStatus(200, await app.anonymous.post("/api/v1/auth/login", { login: email, password }))
    .body as Tokens;

async function until(what: string, test: () => Promise<boolean> | boolean, ms = 5000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await test())) {
    if (Date.now() > deadline) throw new Error(`${what} did not happen within ${ms} ms`);
    await sleep(20);
  }
}

describe("refresh tokens", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  const familyOf = async (tokens: Pick<Tokens, "refreshToken">) => {
    const { rows } = await app.deps.database.pool.query<{
      revoked_reason: string | null;
      refresh_counter: number;
    }>("select revoked_reason, refresh_counter from sessions where id = $1", [sessionOf(tokens)]);
    return rows[0];
  };
  /** Moves the clock of a session by making its past longer ago. */
  const age = async (tokens: Pick<Tokens, "refreshToken">, interval: string): Promise<void> => {
    await app.deps.database.pool.query(
      `update sessions set rotated_at = rotated_at - $2::interval, last_used_at = last_used_at - $2::interval,
         created_at = created_at - $2::interval, expires_at = expires_at - $2::interval where id = $1`,
      [sessionOf(tokens), interval],
    );
  };

  it("are exchanged for new credentials of the same session", async () => {
    const answer = expectStatus(200, await refresh(app, user.refreshToken));
    expect(answer.body).to.have.all.keys("accessToken", "refreshToken", "tokenType", "expiresIn");
    expect(answer.body.refreshToken).to.not.equal(user.refreshToken);
    expect(sessionOf(answer.body)).to.equal(sessionOf(user));
    expect(await statusOf(app, answer.body)).to.equal(200);
  });

  it("give all of fifty simultaneous callers the same successor, and log nobody out", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(app, user.refreshToken)));
    const successors = new Set(answers.map((answer) => expectStatus(200, answer).body.refreshToken));
    expect(successors.size).to.equal(1);
    expect(await familyOf(user)).to.deep.equal({ revoked_reason: null, refresh_counter: 1 });
    expect(await statusOf(app, answers[0]?.body)).to.equal(200);
    await rotate(app, [...successors][0] ?? "");
  });

  it("give the same successor again when the answer was lost", async () => {
    const first = await rotate(app, user.refreshToken);
    await age(user, `${GRACE_SECONDS - 5} seconds`);
    expect((await rotate(app, user.refreshToken)).refreshToken).to.equal(first.refreshToken);
  });

  it("end the session when the one before the last comes back, however soon", async () => {
    const other = await logIn(app, user);
    const second = await rotate(app, user.refreshToken);
    const third = await rotate(app, second.refreshToken);

    const answer = await refresh(app, user.refreshToken);
    expect(answer.status).to.equal(401);
    expect(answer.body.code).to.equal("bad_refresh_token");
    expect(answer.headers.get("www-authenticate")).to.match(/^Bearer/);
    expect((await familyOf(user))?.revoked_reason).to.equal("refresh_reused");
    for (const { refreshToken } of [user, second, third]) {
      expect((await refresh(app, refreshToken)).status).to.equal(401);
    }
    expect(await statusOf(app, third)).to.equal(401);
    expect(await statusOf(app, other)).to.equal(200);
    await rotate(app, other.refreshToken);
    expect(app.logs()).to.include('"sessionId":"' + sessionOf(user));
  });

  it("end the session when the predecessor comes back after the grace", async () => {
    const second = await rotate(app, user.refreshToken);
    await age(user, `${GRACE_SECONDS + 1} seconds`);
    expect((await refresh(app, user.refreshToken)).status).to.equal(401);
    expect((await familyOf(user))?.revoked_reason).to.equal("refresh_reused");
    expect((await refresh(app, second.refreshToken)).status).to.equal(401);
  });

  it("stop working after 30 days without use, and after 90 days in all", async () => {
    await age(user, "29 days");
    const second = await rotate(app, user.refreshToken);
    await age(user, "31 days");
    expect((await refresh(app, second.refreshToken)).status).to.equal(401);

    let tokens = await logIn(app, user);
    for (const days of [25, 25, 25]) {
      await age(tokens, `${days} days`);
      tokens = await rotate(app, tokens.refreshToken);
    }
    await age(tokens, "16 days");
    expect((await refresh(app, tokens.refreshToken)).status).to.equal(401);
  });

  it("stop working when the account is off", async () => {
    await app.deps.database.pool.query("update users set disabled_at = now() where id = $1", [user.id]);
    expect((await refresh(app, user.refreshToken)).status).to.equal(401);
  });

  it("cannot be made up, changed or counted on", async () => {
    const [session = "", counter = "", mac = ""] = user.refreshToken.split(".");
    const flipped = `${mac[0] === "A" ? "B" : "A"}${mac.slice(1)}`;
    const forgeries = [
      `${session}.${counter}.${flipped}`,
      `${session}.1.${mac}`,
      `${session}.${counter}`,
      `01890000-0000-7000-8000-000000000000.${counter}.${mac}`,
      `${session.toUpperCase()}.${counter}.${mac}`,
      `${session}.-0.${mac}`,
      user.accessToken.slice(0, 200),
      "x",
    ];
    for (const forgery of forgeries) expect((await refresh(app, forgery)).status, forgery).to.equal(401);
    expect((await refresh(app, "a\u0000")).body.errors[0].code).to.equal("text_nul");
    await rotate(app, user.refreshToken);
  });

  it("are stored nowhere", async () => {
    const { rows } = await app.deps.database.pool.query<{ line: string }>(
      "select s::text as line from sessions s where id = $1",
      [sessionOf(user)],
    );
    expect(rows[0]?.line).to.not.include(user.refreshToken.split(".")[2]);
  });
});

describe("sessions in Redis", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  /** 0: the account has not changed since it was made. */
  const keyOf = (tokens: Pick<Tokens, "refreshToken">): string =>
    `${app.redisKeys.namespace}:session:${sessionOf(tokens)}:0`;
  const ttlMs = (tokens: Pick<Tokens, "refreshToken">) => app.redisKeys.client.pttl(keyOf(tokens));

  it("are there after the first request, with a time to live", async () => {
    const tokens = await logIn(app, user);
    expect(await statusOf(app, tokens)).to.equal(200);
    expect(await ttlMs(tokens)).to.be.within(1, SESSION_COPY_SECONDS * 1100);
  });

  it("say nothing about an account that has changed since, also by hand", async () => {
    const editor = await buildUser(app);
    expect(await statusOf(app, editor)).to.equal(200);
    await app.deps.database.pool.query("update users set role = 'editor' where id = $1", [editor.id]);
    await app.deps.pages.seen();
    const claims = { userId: editor.id, sessionId: sessionOf(editor) };
    const state = await app.deps.auth.findSession(claims);
    expect(state?.role).to.equal("editor");

    await app.deps.database.pool.query("update users set disabled_at = now() where id = $1", [editor.id]);
    await app.deps.pages.seen();
    expect(await statusOf(app, editor)).to.equal(401);
  });

  for (const statement of ["update sessions set revoked_at = now()", "delete from sessions"]) {
    it(`do not outlive a session after ${statement}`, async () => {
      expect(await statusOf(app, user)).to.equal(200);
      await app.deps.database.pool.query(`${statement} where id = $1`, [sessionOf(user)]);
      await app.deps.pages.seen();
      expect(await statusOf(app, user)).to.equal(401);
    });
  }

  it("are gone after logout", async () => {
    expectStatus(204, await app.as(user).post("/api/v1/auth/logout"));
    expect(await app.redisKeys.client.exists(keyOf(user))).to.equal(0);
    expect(await statusOf(app, user)).to.equal(401);
    expect((await refresh(app, user.refreshToken)).status).to.equal(401);
  });

  it("come back within a second after Redis lost everything", async () => {
    await app.redisKeys.client.del(keyOf(user));
    expect(await statusOf(app, user)).to.equal(200);
    await until("the key", async () => (await ttlMs(user)) > 0, 1000);
  });

  it("save the queries for the session", async () => {
    let connectionsTaken = 0;
    const count = (): void => void (connectionsTaken += 1);
    app.deps.database.pool.on("acquire", count);
    try {
      await app.redisKeys.client.del(keyOf(user));
      expect(await statusOf(app, user)).to.equal(200);
      const first = connectionsTaken;
      expect(first).to.be.above(0);
      expect(await statusOf(app, user)).to.equal(200);
      expect(connectionsTaken).to.equal(first);
    } finally {
      app.deps.database.pool.off("acquire", count);
    }
  });

  it("are read again when what is there is not ours", async () => {
    for (const rubbish of [
      "",
      "{",
      "null",
      '"x"',
      '{"userId":1}',
      '{"userId":"x","expiresAt":1e15,"role":"god"}',
    ]) {
      const fresh = await logIn(app, user); // nothing of it is in memory yet
      await app.redisKeys.client.set(keyOf(fresh), rubbish, "PX", 60_000);
      expect(await statusOf(app, fresh), rubbish).to.equal(200);
    }
  });
});

describe("a logout", () => {
  let app: TestApp;
  let redis: TcpProxy;
  let database: TcpProxy;
  /** Another process: it reaches Redis and PostgreSQL through proxies. */
  let other: TestApp;
  let user: TestUser;

  before(async () => {
    app = await startTestApp();
    redis = await startTcpProxy(testStack().redisUrl);
    database = await startTcpProxy(app.databaseUrl);
    other = await startTestApp({
      beside: app,
      env: {
        REDIS_URL: redis.through(testStack().redisUrl),
        DATABASE_URL: database.through(app.databaseUrl),
      },
    });
  });
  beforeEach(async () => {
    redis.thaw();
    redis.cut();
    database.thaw();
    database.cut();
    await until("the watch", () => other.listener.trusted);
    await until("Redis", async () => (await other.deps.redis.ping()).ok);
    user = await buildUser(app);
    // The other process may only now notice that it was cut off; then it makes no copy, and of this session no more.
    await until("a copy of the session", async () => {
      user = { ...user, ...(await logIn(app, user)) };
      expect(await statusOf(other, user)).to.equal(200);
      return (await app.redisKeys.client.exists(keyOf(user))) === 1;
    });
  });
  after(async () => {
    await other.close();
    await app.close();
    await Promise.all([redis.close(), database.close()]);
  });

  /** 0: the account has not changed since it was made. */
  const keyOf = (tokens: Pick<Tokens, "refreshToken">): string =>
    `${app.redisKeys.namespace}:session:${sessionOf(tokens)}:0`;
  const logOut = async (from: TestApp): Promise<void> => {
    expectStatus(204, await from.as(user).post("/api/v1/auth/logout"));
  };
  const loseRedis = (): void => {
    redis.freeze();
    redis.cut();
  };
  /** News need a moment from one process to the other. */
  const untilRefused = (by: TestApp): Promise<void> =>
    until("the news of the logout", async () => (await statusOf(by, user)) === 401, 1000);

  it("counts on the next request here, and in another process when the news has arrived", async () => {
    await logOut(app);
    expect(await statusOf(app, user)).to.equal(401);
    await untilRefused(other);
  });

  it("counts on the next request while Redis does not answer", async () => {
    loseRedis();
    expect(await statusOf(other, user)).to.equal(200);
    await logOut(other);
    expect(await statusOf(other, user)).to.equal(401);
    await untilRefused(app);
  });

  it("stays when Redis comes back with the old copy", async () => {
    loseRedis();
    await logOut(other);
    expect(await app.redisKeys.client.exists(keyOf(user))).to.equal(1);

    redis.thaw();
    redis.cut();
    await until("Redis", async () => (await other.deps.redis.ping()).ok);
    expect(await statusOf(other, user)).to.equal(401);
    await untilRefused(app);
  });

  it("stays for a process that starts only now, and finds the old copy", async () => {
    loseRedis();
    await logOut(other);
    expect(await app.redisKeys.client.exists(keyOf(user))).to.equal(1);

    const late = await startTestApp({ beside: app });
    try {
      expect(late.listener.trusted).to.equal(true);
      expect(await statusOf(late, user)).to.equal(401);
    } finally {
      await late.close();
    }
  });

  it("is seen by a process whose watch was cut off while it happened", async () => {
    database.freeze();
    database.cut();
    await logOut(app);
    // What a process writes back that read the session just before.
    await app.redisKeys.client.set(
      keyOf(user),
      JSON.stringify({ userId: user.id, role: "user", expiresAt: Date.now() + 1e6 }),
      "PX",
      60_000,
    );
    expect(other.listener.trusted).to.equal(false);
    database.thaw();
    database.cut();
    await until("the watch", () => other.listener.trusted);
    expect(await statusOf(other, user)).to.equal(401);
  });

  it("makes a process ask the database that has heard nothing for three seconds", async function () {
    this.timeout(15_000);
    database.freeze(); // the connections stay open: nothing tells that they are dead
    await until("the end of trust", () => !other.listener.trusted);
    await logOut(app);
    await app.redisKeys.client.set(
      keyOf(user),
      JSON.stringify({ userId: user.id, role: "user", expiresAt: Date.now() + 1e6 }),
      "PX",
      60_000,
    );
    database.thaw();
    database.cut();
    expect(await statusOf(other, user)).to.be.oneOf([401, 503]);
    await until("the watch", () => other.listener.trusted);
    expect(await statusOf(other, user)).to.equal(401);
  });

  it("is refused the second time, like everything else of that session", async () => {
    await logOut(app);
    expect((await app.as(user).post("/api/v1/auth/logout")).status).to.equal(401);
  });
});

describe("without Redis", () => {
  let app: TestApp;
  before(async () => {
    const gone = await startTcpProxy(testStack().redisUrl);
    const url = gone.through(testStack().redisUrl);
    await gone.close();
    app = await startTestApp({ env: { REDIS_URL: url } });
  });
  after(() => app.close());

  it("everything about accounts works", async () => {
    const user = await buildUser(app);
    const tokens = await logIn(app, user);
    expect(await statusOf(app, tokens)).to.equal(200);
    const next = await rotate(app, tokens.refreshToken);
    expectStatus(204, await app.as(next).post("/api/v1/auth/logout"));
    expect(await statusOf(app, next)).to.equal(401);
    expect(await statusOf(app, tokens)).to.equal(401);
    expect(await statusOf(app, user)).to.equal(200);
  });
});

describe("without Redis and PostgreSQL", () => {
  it("a valid token is answered with 503, never with 401", async () => {
    const app = await startTestApp();
    const redis = await startTcpProxy(testStack().redisUrl);
    const database = await startTcpProxy(app.databaseUrl);
    const other = await startTestApp({
      beside: app,
      env: {
        REDIS_URL: redis.through(testStack().redisUrl),
        DATABASE_URL: database.through(app.databaseUrl),
        DB_STATEMENT_TIMEOUT_MS: "500",
        DB_CONNECT_TIMEOUT_MS: "500",
      },
    });
    try {
      const user = await buildUser(app);
      expect(await statusOf(other, user)).to.equal(200);
      for (const proxy of [redis, database]) {
        proxy.freeze();
        proxy.cut();
      }
      const started = performance.now();
      const answer = await other.as(user).get("/api/v1/users/me");
      expect(answer.status).to.equal(503);
      expect(Number(answer.headers.get("retry-after"))).to.be.at.least(1);
      expect(answer.headers.get("www-authenticate")).to.equal(null);
      expect(performance.now() - started).to.be.below(4500);
    } finally {
      await Promise.all([redis.close(), database.close()]);
      await other.close();
      await app.close();
    }
  });
});
