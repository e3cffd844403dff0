import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import { until } from "../support/until.js";

const NOBODY = "01890000-0000-7000-8000-000000000000";

describe("PUT /users/:id/role", () => {
  let app: TestApp;
  let second: TestApp;
  let admin: TestUser;
  before(async () => {
    app = await startTestApp();
    second = await startTestApp({ beside: app });
    admin = await buildUser(app); // the first account
  });
  after(async () => {
    await second.close();
    await app.close();
  });

  const give = (by: TestUser, id: string, role: unknown, at = app) =>
    at.as(by).put(`/api/v1/users/${id}/role`, { role });
  const roleOf = async (user: TestUser, at = app): Promise<string> =>
    (await at.as(user).get("/api/v1/users/me")).body.role as string;

  it("makes the first account admin, and no other", async () => {
    expect(await roleOf(admin)).to.equal("admin");
    expect(await roleOf(await buildUser(app))).to.equal("user");
  });

  it("is for admins", async () => {
    const user = await buildUser(app);
    const editor = await buildUser(app);
    expectStatus(200, await give(admin, editor.id, "editor"));
    for (const caller of [user, editor]) {
      const refused = expectStatus(403, await give(caller, caller.id, "admin"));
      expect(refused.body.code).to.equal("role_required");
      // Whether the account exists makes no difference.
      expectStatus(403, await give(caller, NOBODY, "admin"));
    }
    expectStatus(401, await app.anonymous.put(`/api/v1/users/${user.id}/role`, { role: "admin" }));
    expect([await roleOf(user), await roleOf(editor)]).to.deep.equal(["user", "editor"]);
  });

  it("answers with the account and its role, and asked again with the same", async () => {
    const user = await buildUser(app);
    const expected = { id: user.id, username: user.username, role: "editor" };
    expect(expectStatus(200, await give(admin, user.id, "editor")).body).to.deep.equal(expected);
    expect(expectStatus(200, await give(admin, user.id.toUpperCase(), "editor")).body).to.deep.equal(
      expected,
    );
  });

  it("counts on the next request, on every process, in both directions", async () => {
    const user = await buildUser(app);
    expectStatus(403, await give(user, user.id, "user", second)); // both know the session now
    expectStatus(200, await give(admin, user.id, "admin"));
    expect(await roleOf(user)).to.equal("admin");
    await until(
      "the other process knows",
      async () => (await give(user, user.id, "admin", second)).status === 200,
    );
    expectStatus(200, await give(admin, user.id, "user"));
    expectStatus(403, await give(user, user.id, "admin"));
    await until(
      "the other process knows",
      async () => (await give(user, user.id, "admin", second)).status === 403,
    );
  });

  it("keeps somebody admin, also when the last two step down at once", async () => {
    const alone = expectStatus(409, await give(admin, admin.id, "editor"));
    expect(alone.body.code).to.equal("last_admin");
    expectStatus(200, await give(admin, admin.id, "admin"));

    const other = await buildUser(app);
    expectStatus(200, await give(admin, other.id, "admin"));
    const answers = await Promise.all([give(admin, admin.id, "user"), give(other, other.id, "user")]);
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 409]);
    const { rows } = await app.deps.database.pool.query<{ id: string }>(
      "select id from users where role = 'admin'",
    );
    expect(rows).to.have.length(1);
    await app.deps.database.pool.query("update users set role = 'admin' where id = $1", [admin.id]);
    await app.deps.database.pool.query("update users set role = 'user' where id = $1", [other.id]);
  });

  it("does not count an admin whose account is off, and gives none to an account that is off", async () => {
    const off = await buildUser(app);
    expectStatus(200, await give(admin, off.id, "admin"));
    await app.deps.database.pool.query("update users set disabled_at = now() where id = $1", [off.id]);
    expectStatus(409, await give(admin, admin.id, "user"));
    expectStatus(404, await give(admin, off.id, "user"));
    expectStatus(404, await give(admin, NOBODY, "user"));
    expectStatus(404, await give(admin, "me", "user"));
  });

  it("refuses roles that do not exist, and fields beside the role", async () => {
    for (const role of ["root", "Admin", "", null, 1, ["admin"], undefined])
      expectStatus(400, await give(admin, admin.id, role));
    const more = await app.as(admin).put(`/api/v1/users/${admin.id}/role`, { role: "admin", id: NOBODY });
    expect(expectStatus(400, more).body.errors[0].code).to.equal("unknown_field");
  });
});
