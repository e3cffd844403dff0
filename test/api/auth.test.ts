import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, randomName, registration } from "../support/factories.js";
import type { Answer } from "../support/http.js";

const codesOf = (answer: Answer): string[] =>
  (answer.body.errors as { path: string; code: string }[]).map(({ path, code }) => `${path}:${code}`);

describe("POST /auth/register", () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp();
  });
  after(() => app.close());

  const register = (fields: object) => app.anonymous.post("/api/v1/auth/register", fields);

  it("creates an account and answers with credentials that work", async () => {
    const fields = registration({ displayName: "Ada" });
    const answer = await register(fields);

    expect(answer.status).to.equal(201);
    expect(answer.headers.get("cache-control")).to.equal("no-store");
    expect(answer.body).to.have.all.keys("user", "accessToken", "refreshToken", "tokenType", "expiresIn");
    expect(answer.body).to.include({ tokenType: "Bearer", expiresIn: 600 });
    expect(answer.body.user).to.include({
      email: fields.email,
      username: fields.username,
      displayName: "Ada",
      bio: null,
      timeZone: "UTC",
      profileVisibility: "private",
      historyVisibility: "private",
    });
    const me = expectStatus(200, await app.as(answer.body).get("/api/v1/users/me"));
    expect(me.body).to.deep.equal(answer.body.user);
  });

  it("keeps the password as a bcrypt hash of its pre-hash only", async () => {
    const user = await buildUser(app);
    const { rows } = await app.deps.database.pool.query<{ line: string; hash: string }>(
      "select u::text as line, password_hash as hash from users u where id = $1",
      [user.id],
    );
    expect(rows[0]?.hash).to.match(/^\$2b\$04\$/);
    expect(rows[0]?.line).to.not.include(user.password);
  });

  it("names each field that is missing or not known, in one answer", async () => {
    const answer = await register({ role: "admin", id: "x" });
    expect(answer.status).to.equal(400);
    expect(answer.headers.get("content-type")).to.equal("application/problem+json");
    expect(codesOf(answer)).to.have.members([
      "email:required",
      "username:required",
      "password:required",
      "role:unknown_field",
      "id:unknown_field",
    ]);
  });

  const local = "a".repeat(64);
  const longEmail = `${local}@${Array.from({ length: 4 }, () => "b".repeat(47)).join(".")}.org`;
  const refused: readonly (readonly [what: string, fields: object, code: string])[] = [
    ["an e-mail address of 255 characters", { email: `${longEmail}`.padEnd(255, "g") }, "email:too_long"],
    ["spaces around an e-mail address", { email: " a@b.co " }, "email:bad_email"],
    ["NUL in an e-mail address", { email: "a\u0000@b.co" }, "email:text_nul"],
    ["an e-mail address without @", { email: "a.b.co" }, "email:bad_email"],
    ["half a surrogate pair in a name", { displayName: "\ud800" }, "displayName:text_not_unicode"],
    ["NUL in a name", { displayName: "a\u0000b" }, "displayName:text_nul"],
    ["a number for a name", { displayName: 7 }, "displayName:wrong_type"],
    ["a user name that looks like an e-mail address", { username: "a@b.co" }, "username:bad_format"],
    ["a user name of one character", { username: "a" }, "username:bad_format"],
    ["a user name of 33 characters", { username: "a".repeat(33) }, "username:too_long"],
    ["an empty user name", { username: "" }, "username:empty"],
    ["a password of 11 characters", { password: "a".repeat(11) }, "password:password_length"],
    ["a password of 257 characters", { password: "a".repeat(257) }, "password:password_length"],
    ["11 characters in 22 UTF-16 units", { password: "🎧".repeat(11) }, "password:password_length"],
    ["a password that everybody tries first", { password: "password1234" }, "password:password_common"],
    ["the same in another dress", { password: "QWERTY ｕｉｏｐ 123" }, "password:password_common"],
    ["NUL in a password", { password: "correct\u0000horse battery" }, "password:text_nul"],
    [
      "half a surrogate pair in a password",
      { password: "correct horse \udc00" },
      "password:text_not_unicode",
    ],
    ["nesting in place of a password", { password: { $ne: null } }, "password:wrong_type"],
  ];
  for (const [what, fields, code] of refused) {
    it(`refuses ${what}`, async () => {
      const answer = await register({ ...registration(), ...fields });
      expect(answer.status).to.equal(400);
      expect(codesOf(answer)).to.include(code);
      expect(codesOf(answer).every((found) => found.startsWith(`${Object.keys(fields)[0]}:`))).to.equal(true);
    });
  }

  it("takes passwords of 12 and of 256 characters, in any script", async () => {
    for (const password of ["a".repeat(12), "🎧".repeat(256), "пароль из слов", "password1234a"]) {
      const user = await buildUser(app, { password });
      const login = { login: user.username, password };
      expectStatus(200, await app.anonymous.post("/api/v1/auth/login", login));
    }
  });

  it("refuses an e-mail address and a user name that are taken, in any case, naming both", async () => {
    const user = await buildUser(app);
    const same = {
      ...registration(),
      email: user.email.toUpperCase(),
      username: user.username.toUpperCase(),
    };

    const both = await register(same);
    expect(both.status).to.equal(409);
    expect(both.body.code).to.equal("taken");
    expect(codesOf(both)).to.deep.equal(["email:taken", "username:taken"]);
    const one = await register({ ...same, username: randomName("other") });
    expect(codesOf(one)).to.deep.equal(["email:taken"]);
  });

  it("gives one of many simultaneous registrations of a name the account, the others 409", async () => {
    const fields = registration();
    const answers = await Promise.all(Array.from({ length: 8 }, () => register(fields)));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, ...Array<number>(7).fill(409)]);
  });

  it("takes a body of up to 256 KiB and no more", async () => {
    const answer = await register({ ...registration(), displayName: "x".repeat(300 * 1024) });
    expect(answer.status).to.equal(413);
    expect(answer.body.code).to.equal("too_large");
  });
});

describe("the first account", () => {
  it("is admin, and only one is, however many come at once", async () => {
    const app = await startTestApp();
    try {
      const users = await Promise.all(Array.from({ length: 6 }, () => buildUser(app)));
      expect(users.filter(({ role }) => role === "admin")).to.have.length(1);
      expect((await buildUser(app)).role).to.equal("user");
    } finally {
      await app.close();
    }
  });

  it("cannot be made where registration is closed", async () => {
    const app = await startTestApp({ env: { REGISTRATION: "closed" } });
    try {
      const answer = await app.anonymous.post("/api/v1/auth/register", registration());
      expect(answer.status).to.equal(403);
      expect(answer.body.code).to.equal("registration_closed");
    } finally {
      await app.close();
    }
  });
});

describe("POST /auth/login", () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp();
  });
  after(() => app.close());

  const login = (fields: object) => app.anonymous.post("/api/v1/auth/login", fields);

  it("takes e-mail address or user name, under three names, in any case", async () => {
    const { email, username, password, id } = await buildUser(app);
    for (const name of [
      { login: email },
      { login: username },
      { email: email.toUpperCase() },
      { username: username.toUpperCase() },
    ]) {
      const answer = expectStatus(200, await login({ ...name, password }));
      expect(answer.body).to.have.all.keys("user", "accessToken", "refreshToken", "tokenType", "expiresIn");
      expect(answer.body.user.id).to.equal(id);
    }
  });

  it("needs exactly one name", async () => {
    const { email, username, password } = await buildUser(app);
    expect(codesOf(await login({ password }))).to.deep.equal([":required"]);
    expect(codesOf(await login({ email, username, password }))).to.deep.equal([":conflicting"]);
  });

  it("answers alike for a wrong password, an unknown login and an account that is off", async () => {
    const user = await buildUser(app);
    const off = await buildUser(app);
    await app.deps.database.pool.query("update users set disabled_at = now() where id = $1", [off.id]);
    const answers = await Promise.all([
      login({ login: user.email, password: "not the password" }),
      login({ login: "nobody@example.org", password: "not the password" }),
      login({ login: "nobody", password: "short" }),
      login({ login: off.email, password: off.password }),
    ]);
    for (const answer of answers) {
      expect(answer.status).to.equal(401);
      expect(answer.headers.get("www-authenticate")).to.match(/^Bearer/);
      expect({ ...answer.body, requestId: "" }).to.deep.equal({ ...answers[0]?.body, requestId: "" });
    }
    expect(answers[0]?.body.code).to.equal("bad_credentials");
  });

  it("tells passwords apart that are equal in their first 72 bytes", async () => {
    const start = "x".repeat(72);
    const user = await buildUser(app, { password: `${start}one` });
    expect((await login({ login: user.email, password: `${start}two` })).status).to.equal(401);
    expect((await login({ login: user.email, password: `${start}one` })).status).to.equal(200);
  });

  it("takes a password however its accents are composed, and drops no space", async () => {
    const user = await buildUser(app, { password: "crème brûlée ".normalize("NFC") });
    const attempt = async (password: string) => (await login({ login: user.email, password })).status;
    expect(await attempt("crème brûlée ".normalize("NFD"))).to.equal(200);
    expect(await attempt("crème brûlée")).to.equal(401);
  });

  it("begins a session of its own each time", async () => {
    const user = await buildUser(app);
    const again = expectStatus(200, await login({ login: user.email, password: user.password }));
    expectStatus(204, await app.as(user).post("/api/v1/auth/logout"));
    expect((await app.as(user).get("/api/v1/users/me")).status).to.equal(401);
    expect((await app.as(again.body).get("/api/v1/users/me")).status).to.equal(200);
  });

  it("writes no password, token or e-mail address into the log", async () => {
    const user = await buildUser(app);
    await login({ login: user.email, password: user.password });
    await login({ login: user.email, password: `${user.password} wrong` });
    await app.anonymous.post("/api/v1/auth/login", undefined, {
      raw: `{"login":"${user.email}","password":"${user.password}"`,
      headers: { "content-type": "application/json" },
    });
    await app.as(user).post("/api/v1/auth/refresh", { refreshToken: user.refreshToken });
    const logs = app.logs();
    expect(logs).to.include('"route":"/api/v1/auth/login"');
    for (const secret of [user.email, user.password, user.accessToken, user.refreshToken]) {
      expect(logs).to.not.include(secret);
    }
  });
});
