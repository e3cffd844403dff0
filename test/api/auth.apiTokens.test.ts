import { expect } from "chai";
import { endpoints } from "../../api/routes/index.js";
import { scopeOf } from "../../api/middleware/endpoint.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { makeToken, type Scope, statusOf } from "../support/credentials.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { until } from "../support/until.js";

const TOKENS = "/api/v1/auth/tokens";
const SCOPES: readonly Scope[] = ["read", "write", "import", "admin"];

const codesOf = (answer: Answer): string[] =>
  (answer.body.errors as { path: string; code: string }[]).map(({ path, code }) => `${path}:${code}`);

describe("personal API tokens", () => {
  let app: TestApp;
  let admin: TestUser;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
    admin = await buildUser(app);
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  const create = (as: Pick<TestUser, "accessToken">, fields: object) =>
    app.as(as).post(TOKENS, { name: "script", scopes: ["read"], ...fields });
  const rowOf = async (id: string) => {
    const { rows } = await app.deps.database.pool.query<{ used: Date | null; line: string }>(
      "select last_used_at as used, t::text as line from api_tokens t where id = $1",
      [id],
    );
    return rows[0];
  };
  const age = (id: string, interval: string) =>
    app.deps.database.pool.query(
      "update api_tokens set last_used_at = last_used_at - $2::interval where id = $1",
      [id, interval],
    );

  it("are made by a login, shown once, listed without themselves, and work", async () => {
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const scopes = ["write", "read", "write"];
    const answer = expectStatus(201, await create(user, { name: "scrobbler", scopes, expiresAt }));
    const { token, ...shown } = answer.body as { token: string; id: string; createdAt: string };
    expect(answer.headers.get("cache-control")).to.equal("no-store");
    expect(token).to.match(/^playlog_[\w-]{43}$/);
    expect(shown).to.deep.equal({
      id: shown.id,
      name: "scrobbler",
      scopes: ["write", "read"],
      lastUsedAt: null,
      expiresAt,
      createdAt: shown.createdAt,
    });
    const later = await makeToken(app, user);
    await makeToken(app, admin);

    const list = expectStatus(200, await app.as(user).get(TOKENS));
    expect(list.body.data.map(({ id }: { id: string }) => id)).to.deep.equal([later.id, shown.id]);
    expect(list.body.data[1]).to.deep.equal(shown);
    const me = expectStatus(200, await app.as({ accessToken: token }).get("/api/v1/users/me"));
    expect(me.body.id).to.equal(user.id);
    expect((await rowOf(shown.id))?.line).to.not.include(token.slice(8));
    expect(app.logs()).to.not.include(token);
  });

  it("are refused with every mistake named", async () => {
    const none = await app.as(user).post(TOKENS, { userId: admin.id });
    expect(codesOf(none)).to.have.members(["name:required", "scopes:required", "userId:unknown_field"]);
    const wrong = await create(user, { name: "", scopes: ["read", "root"], expiresAt: "tomorrow" });
    expect(codesOf(wrong)).to.have.members(["name:empty", "scopes.1:not_allowed", "expiresAt:bad_time"]);
    expect(codesOf(await create(user, { scopes: [] }))).to.deep.equal(["scopes:too_few"]);
    const past = await create(user, { expiresAt: new Date(Date.now() - 1000).toISOString() });
    expect(codesOf(past)).to.deep.equal(["expiresAt:out_of_range"]);
  });

  it("get the scope admin from an admin only, and lose what it is good for with the role", async () => {
    const refused = await create(user, { scopes: ["read", "admin"] });
    expect(refused.status).to.equal(403);
    expect(refused.body.code).to.equal("role_required");
    const { accessToken } = await makeToken(app, admin, ["admin"]);
    const caller = () => app.deps.auth.tokens.find(accessToken);
    expect(await caller()).to.include({ role: "admin" });
    await app.deps.database.pool.query("update users set role = 'user' where id = $1", [admin.id]);
    await app.deps.pages.seen();
    expect(await caller()).to.include({ role: "user" });
    await app.deps.database.pool.query("update users set role = 'admin' where id = $1", [admin.id]);
  });

  it("are fifty at most", async () => {
    await app.deps.database.pool.query(
      `insert into api_tokens (id, user_id, name, token_hash, scopes, expires_at)
       select gen_random_uuid(), $1::uuid, 'n', sha256(($1 || n::text)::bytea), '{read}',
              case when n > 49 then now() end
       from generate_series(1, 60) as n`,
      [user.id],
    );
    const answers = await Promise.all([create(user, {}), create(user, {})]);
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, 409]);
    expect(answers.find(({ status }) => status === 409)?.body.code).to.equal("too_many_tokens");
  });

  it("open what their scopes say, and nothing of what needs a login", async () => {
    const tokens = new Map<Scope, Pick<TestUser, "accessToken">>();
    for (const missing of SCOPES) {
      const scopes = SCOPES.filter((scope) => scope !== missing);
      tokens.set(missing, await makeToken(app, admin, scopes));
    }
    const guarded = endpoints.filter(({ auth }) => auth === "user");
    expect(guarded).to.have.length.above(15);
    for (const { method, path, ...endpoint } of guarded) {
      const needed = scopeOf({ method, ...endpoint });
      const address = path
        .replaceAll(/:id\b/g, "01890000-0000-7000-8000-000000000000")
        .replaceAll(/:\w+/g, "1");
      const token = tokens.get(needed === "session" ? "read" : needed);
      const answer = await app.as(token!).request(method.toUpperCase(), address);
      expect(answer.status, `${method} ${path}`).to.equal(403);
      const code = needed === "session" ? "session_required" : "scope_required";
      expect(answer.body.code, `${method} ${path}`).to.equal(code);
    }
    const sessionOnly = guarded.filter(({ scope }) => scope === "session").map(({ path }) => path);
    expect(sessionOnly).to.include.members([TOKENS, "/api/v1/auth/password", "/api/v1/auth/sessions"]);

    const importer = await makeToken(app, user, ["import"]);
    const upload = await app.as(importer).post("/api/v1/imports", {});
    expect(upload.status).to.be.oneOf([202, 400]);
    expect(await statusOf(app, importer)).to.equal(403);
  });

  it("work in the Authorization header only, once, and as they were given", async () => {
    const { accessToken: token } = await makeToken(app, user);
    const ask = async (headers: Record<string, string>, query = "") =>
      (await app.anonymous.get(`/api/v1/users/me${query}`, { headers })).status;
    expect(await ask({ authorization: `bearer ${token}` })).to.equal(200);
    expect(await ask({ authorization: token })).to.equal(401);
    expect(await ask({ authorization: `Basic ${token}` })).to.equal(401);
    expect(await ask({ "x-api-key": token })).to.equal(401);
    expect(await ask({}, `?access_token=${token}`)).to.equal(401);
    const changed = `${token.slice(0, -2)}${token.endsWith("AA") ? "BB" : "AA"}`;
    for (const forged of [
      changed,
      token.toUpperCase(),
      token.slice(0, -1),
      `${token}A`,
      "playlog_",
      `${token} x`,
    ]) {
      const answer = await app.as({ accessToken: forged }).get("/api/v1/users/me");
      expect(answer.status, forged.replace(token, "<token>")).to.equal(401);
      expect(answer.body.code).to.equal("unauthorized");
      expect(answer.headers.get("www-authenticate")).to.match(/^Bearer/);
    }
  });

  it("end when their owner revokes them, and nobody else can", async () => {
    const made = await makeToken(app, user);
    const address = `${TOKENS}/${made.id}`;
    const unknown = await app.as(user).delete(`${TOKENS}/01890000-0000-7000-8000-000000000000`);
    const foreign = await app.as(admin).delete(address);
    expect([unknown.status, foreign.status]).to.deep.equal([404, 404]);
    expect({ ...foreign.body, requestId: "" }).to.deep.equal({ ...unknown.body, requestId: "" });
    /** As a stream of events asks that began long ago. */
    const goesOn = (userId: string): Promise<boolean> =>
      app.deps.auth.works({ userId, sessionId: null, tokenId: made.id });
    expect(await statusOf(app, made)).to.equal(200);
    expect([await goesOn(user.id), await goesOn(admin.id)]).to.deep.equal([true, false]);
    expectStatus(204, await app.as(user).delete(address));
    expect(await statusOf(app, made)).to.equal(401);
    expect(await goesOn(user.id)).to.equal(false);
    expect((await app.as(user).delete(address)).status).to.equal(404);
    expect((await app.as(user).get(TOKENS)).body.data).to.deep.equal([]);
  });

  it("end when they expire, also in memory", async () => {
    const expiresAt = new Date(Date.now() + 1500).toISOString();
    const made = await makeToken(app, user, ["read"], { expiresAt });
    expect(await statusOf(app, made)).to.equal(200);
    await until("the end of the token", () => Date.now() > Date.parse(expiresAt));
    expect(await statusOf(app, made)).to.equal(401);
    expect((await app.as(user).get(TOKENS)).body.data).to.deep.equal([]);
  });

  it("cost no query while they are used again and again", async () => {
    const made = await makeToken(app, user);
    expect(await statusOf(app, made)).to.equal(200);
    await until("the note of the use", async () => (await rowOf(made.id))?.used !== null);
    expect(await statusOf(app, made)).to.equal(200);
    let connectionsTaken = 0;
    const count = (): void => void (connectionsTaken += 1);
    app.deps.database.pool.on("acquire", count);
    try {
      for (let n = 0; n < 5; n += 1) expect(await statusOf(app, made)).to.equal(200);
      expect(connectionsTaken).to.equal(0);
    } finally {
      app.deps.database.pool.off("acquire", count);
    }
  });

  it("are noted as used behind the answer, which waits for nothing", async () => {
    const made = await makeToken(app, user);
    const client = await app.deps.database.pool.connect();
    try {
      await client.query("begin");
      await client.query("select from api_tokens where id = $1 for update", [made.id]);
      expect(await statusOf(app, made)).to.equal(200);
      expect((await rowOf(made.id))?.used).to.equal(null);
      await client.query("rollback");
    } finally {
      client.release();
    }
    await until("the note of the use", async () => (await rowOf(made.id))?.used !== null);
  });

  it("are noted as used once a minute at most, however many processes they are used on", async () => {
    const made = await makeToken(app, user);
    expect(await statusOf(app, made)).to.equal(200);
    await until("the note of the use", async () => (await rowOf(made.id))?.used !== null);
    const other = await startTestApp({ beside: app });
    const third = await startTestApp({ beside: app });
    const { pool } = other.deps.database;
    try {
      await age(made.id, "30 seconds");
      const before = (await rowOf(made.id))?.used;
      expect(await statusOf(other, made)).to.equal(200);
      await until("the end of its statements", () => pool.idleCount === pool.totalCount);
      expect((await rowOf(made.id))?.used).to.deep.equal(before);
      await age(made.id, "40 seconds");
      expect(await statusOf(third, made)).to.equal(200);
      await until("another note", async () => Number((await rowOf(made.id))?.used) > Number(before));
    } finally {
      await Promise.all([other.close(), third.close()]);
    }
  });
});
