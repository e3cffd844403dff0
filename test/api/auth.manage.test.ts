import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { logIn, makeToken, refresh, sessionOf, statusOf } from "../support/credentials.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { untilBlocked } from "../support/locks.js";

const PASSWORD = "/api/v1/auth/password";
const SESSIONS = "/api/v1/auth/sessions";
const NEW = "another long password";

interface ListedSession {
  readonly id: string;
  readonly current: boolean;
  readonly userAgent: string | null;
  readonly lastUsedAt: string;
  readonly expiresAt: string;
}

const codesOf = (answer: Answer): string[] =>
  (answer.body.errors as { path: string; code: string }[]).map(({ path, code }) => `${path}:${code}`);

describe("an account in the hands of its owner:", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  describe("the sessions of an account", () => {
    const list = async (as: Pick<TestUser, "accessToken">): Promise<readonly ListedSession[]> => {
      const { body } = expectStatus(200, await app.as(as).get(SESSIONS));
      expect(body.nextCursor).to.equal(null);
      return body.data as ListedSession[];
    };

    it("are listed for their owner, last used first, with the one that asks marked", async () => {
      await buildUser(app);
      const phone = await logIn(app, user, "a phone");
      const laptop = await logIn(app, user, "a laptop");
      const sessions = await list(phone);
      expect(sessions.map(({ id }) => id)).to.deep.equal([laptop, phone, user].map(sessionOf));
      expect(sessions.map(({ current }) => current)).to.deep.equal([false, true, false]);
      expect(sessions.slice(0, 2).map(({ userAgent }) => userAgent)).to.deep.equal(["a laptop", "a phone"]);
      for (const session of sessions) {
        expect(session).to.have.all.keys(
          "id",
          "current",
          "userAgent",
          "createdAt",
          "lastUsedAt",
          "expiresAt",
        );
        const days = (Date.parse(session.expiresAt) - Date.parse(session.lastUsedAt)) / 86_400_000;
        expect(days).to.be.closeTo(30, 0.1);
      }

      expectStatus(200, await refresh(app, user));
      expect((await list(phone))[0]?.id).to.equal(sessionOf(user));
    });

    it("leave the list when they end, are idle for 30 days or expire", async () => {
      const [idle, expired] = [await logIn(app, user), await logIn(app, user)];
      const { pool } = app.deps.database;
      await pool.query("update sessions set last_used_at = now() - interval '31 days' where id = $1", [
        sessionOf(idle),
      ]);
      await pool.query("update sessions set expires_at = now() where id = $1", [sessionOf(expired)]);
      expect(await list(user)).to.have.length(1);
      for (const gone of [idle, expired]) {
        expect((await app.as(user).delete(`${SESSIONS}/${sessionOf(gone)}`)).status).to.equal(404);
      }
    });

    it("end one by one, by their owner only", async () => {
      const stranger = await buildUser(app);
      const phone = await logIn(app, user);
      const address = `${SESSIONS}/${sessionOf(phone)}`;

      const unknown = await app.as(user).delete(`${SESSIONS}/01890000-0000-7000-8000-000000000000`);
      const foreign = await app.as(stranger).delete(address);
      expect([unknown.status, foreign.status]).to.deep.equal([404, 404]);
      expect({ ...foreign.body, requestId: "" }).to.deep.equal({ ...unknown.body, requestId: "" });
      expect((await app.as(user).delete(`${SESSIONS}/everything`)).status).to.equal(404);
      expect(await statusOf(app, phone)).to.equal(200);

      expectStatus(204, await app.as(user).delete(address));
      expect(await statusOf(app, phone)).to.equal(401);
      expect((await refresh(app, phone)).status).to.equal(401);
      expect((await app.as(user).delete(address)).status).to.equal(404);
      expect((await list(user)).map(({ id }) => id)).to.deep.equal([sessionOf(user)]);
    });

    it("end also from themselves, which is a logout", async () => {
      expectStatus(204, await app.as(user).delete(`${SESSIONS}/${sessionOf(user)}`));
      expect(await statusOf(app, user)).to.equal(401);
    });

    it("end all at once, and nobody else's; API tokens go on", async () => {
      const stranger = await buildUser(app);
      const phone = await logIn(app, user);
      const script = await makeToken(app, user);
      expectStatus(204, await app.as(phone).post("/api/v1/auth/logout-all"));
      for (const ended of [user, phone]) {
        expect(await statusOf(app, ended)).to.equal(401);
        expect((await refresh(app, ended)).status).to.equal(401);
      }
      expect(await statusOf(app, stranger)).to.equal(200);
      expect(await statusOf(app, script)).to.equal(200);
      expect(await statusOf(app, await logIn(app, user))).to.equal(200);
    });

    it("are fifty at most: the one that was not used for longest makes room", async () => {
      await app.deps.database.pool.query(
        `insert into sessions (id, user_id, refresh_key, expires_at, last_used_at)
         select gen_random_uuid(), $1, '\\x00', now() + interval '9 days', now() - n * interval '1 hour'
         from generate_series(1, 51) as n`,
        [user.id],
      );
      const latest = await logIn(app, user);
      const sessions = await list(latest);
      expect(sessions).to.have.length(50);
      expect(sessions[0]?.id).to.equal(sessionOf(latest));
      const hours = sessions.map(({ lastUsedAt }) =>
        Math.round((Date.now() - Date.parse(lastUsedAt)) / 3_600_000),
      );
      expect(hours.at(-1)).to.equal(48);
      expect(await statusOf(app, user)).to.equal(200);
    });

    it("have an id that nobody can plant: each login begins another one", async () => {
      const planted = sessionOf(user);
      const options = { headers: { authorization: `Bearer ${user.accessToken}`, cookie: `sid=${planted}` } };
      const { email, password } = user;
      const { body } = expectStatus(
        200,
        await app.anonymous.post("/api/v1/auth/login", { login: email, password }, options),
      );
      expect(sessionOf(body)).to.not.equal(planted);
    });
  });

  describe("POST /auth/password", () => {
    const change = (as: Pick<TestUser, "accessToken">, currentPassword: string, more: object = {}) =>
      app.as(as).post(PASSWORD, { currentPassword, newPassword: NEW, ...more });

    const loginStatus = async (password: string): Promise<number> =>
      (await app.anonymous.post("/api/v1/auth/login", { login: user.email, password })).status;

    it("ends every session and API token, and gives the caller a new session", async () => {
      const phone = await logIn(app, user);
      const script = await makeToken(app, user);
      expect(await statusOf(app, script)).to.equal(200);

      const { body, headers } = expectStatus(200, await change(user, user.password));
      expect(body).to.have.all.keys("accessToken", "refreshToken", "tokenType", "expiresIn");
      expect(headers.get("cache-control")).to.equal("no-store");
      expect(sessionOf(body)).to.not.equal(sessionOf(user));
      for (const ended of [user, phone, script]) expect(await statusOf(app, ended)).to.equal(401);
      for (const ended of [user, phone]) expect((await refresh(app, ended)).status).to.equal(401);
      expect(await statusOf(app, body)).to.equal(200);
      expectStatus(200, await refresh(app, body));
      expect([await loginStatus(user.password), await loginStatus(NEW)]).to.deep.equal([401, 200]);
      expect(app.logs()).to.not.include(NEW);
    });

    it("lets API tokens go on when it is asked to", async () => {
      const script = await makeToken(app, user);
      expectStatus(200, await change(user, user.password, { keepTokens: true }));
      expect(await statusOf(app, script)).to.equal(200);
    });

    it("changes nothing without the current password, or for a new one that breaks the rules", async () => {
      const wrong = await change(user, "not the password");
      expect(wrong.status).to.equal(403);
      expect(wrong.body.code).to.equal("wrong_password");
      const short = await change(user, user.password, { newPassword: "short" });
      expect(codesOf(short)).to.deep.equal(["newPassword:password_length"]);
      const strange = await change(user, user.password, { role: "admin", keepTokens: "yes" });
      expect(codesOf(strange)).to.have.members(["role:unknown_field", "keepTokens:wrong_type"]);
      expect(await statusOf(app, user)).to.equal(200);
      expect(await loginStatus(user.password)).to.equal(200);
    });

    it("lets one of two changes at once win, and leaves one session", async () => {
      const phone = await logIn(app, user);
      const answers = await Promise.all([change(user, user.password), change(phone, user.password)]);
      const [won, lost] = answers.toSorted((a, b) => a.status - b.status);
      expect(won?.status).to.equal(200);
      expect(lost?.status).to.be.oneOf([401, 403]);
      const { body } = expectStatus(200, await app.as(won?.body).get(SESSIONS));
      expect(body.data).to.have.length(1);
    });

    /** Runs `request` while another transaction that is about to change the account holds its row, then lets that commit. */
    async function raceAgainst(change: string, request: () => Promise<Answer>): Promise<Answer> {
      const { pool } = app.deps.database;
      const client = await pool.connect();
      try {
        await client.query("begin");
        await client.query("select from users where id = $1 for no key update", [user.id]);
        const answer = request();
        await untilBlocked(pool);
        await client.query(change, [user.id]);
        await client.query("commit");
        return await answer;
      } finally {
        client.release();
      }
    }

    it("leaves no session to a login that began with the old password", async () => {
      const { email, password } = user;
      const answer = await raceAgainst("update users set password_hash = 'changed' where id = $1", () =>
        app.anonymous.post("/api/v1/auth/login", { login: email, password }),
      );
      expect(answer.status).to.equal(401);
      expect(answer.body.code).to.equal("bad_credentials");
    });

    it("leaves no API token to a session that is just being ended", async () => {
      const answer = await raceAgainst("update sessions set revoked_at = now() where user_id = $1", () =>
        app.as(user).post("/api/v1/auth/tokens", { name: "late", scopes: ["read"] }),
      );
      expect(answer.status).to.equal(401);
      const { rows } = await app.deps.database.pool.query("select from api_tokens where user_id = $1", [
        user.id,
      ]);
      expect(rows).to.have.length(0);
    });
  });
});
