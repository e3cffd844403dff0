import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { logIn, makeToken, refresh, sessionOf, statusOf } from "../support/credentials.js";
import type { Tokens } from "../support/credentials.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { testStack } from "../support/stack.js";
import { startTcpProxy, type TcpProxy } from "../support/tcpProxy.js";
import { until } from "../support/until.js";

/** News need a moment from one process to the other. */
const NEWS_MS = 1000;

describe("what is revoked", () => {
  let app: TestApp;
  let database: TcpProxy;
  /** Another process, which has no Redis, and reaches PostgreSQL through a proxy. */
  let other: TestApp;
  let user: TestUser;
  /** A session and a token of the user, other than the session that revokes. */
  let victim: Tokens;
  let script: { readonly id: string; readonly accessToken: string };

  before(async () => {
    app = await startTestApp();
    const gone = await startTcpProxy(testStack().redisUrl);
    const url = gone.through(testStack().redisUrl);
    await gone.close();
    database = await startTcpProxy(app.databaseUrl);
    other = await startTestApp({
      beside: app,
      env: {
        REDIS_URL: url,
        DATABASE_URL: database.through(app.databaseUrl),
        DB_CONNECT_TIMEOUT_MS: "500",
      },
    });
  });
  beforeEach(async () => {
    await until("the watch", () => app.listener.trusted && other.listener.trusted);
    user = await buildUser(app);
    victim = await logIn(app, user);
    script = await makeToken(app, user);
    for (const api of [app, other]) {
      for (const credential of [user, victim, script]) {
        expect(await statusOf(api, credential)).to.equal(200);
      }
    }
  });
  after(async () => {
    await other.close();
    await app.close();
    await database.close();
  });

  const sql = (statement: string, id: string) => app.deps.database.pool.query(statement, [id]);
  const untilRefused = (by: TestApp, credential: Pick<Tokens, "accessToken">): Promise<void> =>
    until("the news", async () => (await statusOf(by, credential)) === 401, NEWS_MS);

  /** Each ends the session of the victim; by itself, through the process `by`. */
  const endings: Record<string, (by: TestApp) => Promise<unknown>> = {
    "a logout": async (by) => expectStatus(204, await by.as(victim).post("/api/v1/auth/logout")),
    "a logout everywhere": async (by) => expectStatus(204, await by.as(user).post("/api/v1/auth/logout-all")),
    "ending it from another session": async (by) =>
      expectStatus(204, await by.as(user).delete(`/api/v1/auth/sessions/${sessionOf(victim)}`)),
    "a change of the password": async (by) =>
      expectStatus(
        200,
        await by.as(user).post("/api/v1/auth/password", {
          currentPassword: user.password,
          newPassword: "another long password",
        }),
      ),
    "switching the account off": async (by) => {
      await sql("update users set disabled_at = now() where id = $1", user.id);
      await by.deps.pages.seen();
    },
    "deleting the account": async (by) => {
      await sql("delete from users where id = $1", user.id);
      await by.deps.pages.seen();
    },
  };
  for (const [what, end] of Object.entries(endings)) {
    it(`is refused on the next request after ${what}: session, in both processes, without Redis too`, async () => {
      await end(other);
      expect(await statusOf(other, victim)).to.equal(401);
      await untilRefused(app, victim);
      expect((await refresh(app, victim)).status).to.equal(401);
    });
  }

  const tokenEndings: Record<string, (by: TestApp) => Promise<unknown>> = {
    "its owner revokes it": async (by) =>
      expectStatus(204, await by.as(user).delete(`/api/v1/auth/tokens/${script.id}`)),
    "a change of the password": endings["a change of the password"]!,
    "its row is deleted": async (by) => {
      await sql("delete from api_tokens where id = $1", script.id);
      await by.deps.pages.seen();
    },
    "its expiry is brought forward": async (by) => {
      await sql("update api_tokens set expires_at = now() where id = $1", script.id);
      await by.deps.pages.seen();
    },
    "the account is switched off": endings["switching the account off"]!,
    "the account is deleted": endings["deleting the account"]!,
  };
  for (const [what, end] of Object.entries(tokenEndings)) {
    it(`is refused on the next request when ${what}: API token, in both processes`, async () => {
      await end(other);
      expect(await statusOf(other, script)).to.equal(401);
      await untilRefused(app, script);
    });
  }

  it("stays refused in a process that was cut off from the news while it happened", async () => {
    database.freeze();
    database.cut();
    expectStatus(204, await app.as(user).delete(`/api/v1/auth/tokens/${script.id}`));
    expectStatus(204, await app.as(user).post("/api/v1/auth/logout-all"));
    expect(other.listener.trusted).to.equal(false);
    database.thaw();
    database.cut();
    for (const credential of [victim, script]) {
      expect(await statusOf(other, credential)).to.be.oneOf([401, 503]);
    }
    await until("the watch", () => other.listener.trusted);
    for (const credential of [victim, script]) expect(await statusOf(other, credential)).to.equal(401);
  });

  it("says 503 for an API token while nobody can tell whether it works", async () => {
    database.freeze();
    database.cut();
    try {
      const answer = await other.as(script).get("/api/v1/users/me");
      expect(answer.status).to.equal(503);
      expect(answer.headers.get("www-authenticate")).to.equal(null);
    } finally {
      database.thaw();
      database.cut();
    }
  });
});
