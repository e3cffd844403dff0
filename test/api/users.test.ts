import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";

const PUBLIC_FIELDS = [
  "id",
  "username",
  "displayName",
  "bio",
  "avatarUrl",
  "country",
  "timeZone",
  "profileVisibility",
  "historyVisibility",
  "createdAt",
  "updatedAt",
];
const OWN_FIELDS = [...PUBLIC_FIELDS, "email", "role"];

describe("GET /users", () => {
  let app: TestApp;
  let me: TestUser;
  let other: TestUser;
  before(async () => {
    app = await startTestApp();
    me = await buildUser(app);
    other = await buildUser(app);
  });
  after(() => app.close());

  const setVisibility = (user: TestUser, visibility: "public" | "private") =>
    app.deps.database.pool.query("update users set profile_visibility = $2 where id = $1", [
      user.id,
      visibility,
    ]);

  it("shows me my whole account, as me and by id", async () => {
    const byName = expectStatus(200, await app.as(me).get("/api/v1/users/me"));
    const byId = expectStatus(200, await app.as(me).get(`/api/v1/users/${me.id}`));
    const upper = expectStatus(200, await app.as(me).get(`/api/v1/users/${me.id.toUpperCase()}`));
    expect(byName.body).to.have.all.keys(OWN_FIELDS);
    expect(byName.body).to.include({ id: me.id, email: me.email, username: me.username });
    expect(byId.body).to.deep.equal(byName.body);
    expect(upper.body).to.deep.equal(byName.body);
    expect(byName.body.createdAt).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(byName.headers.get("cache-control")).to.equal("private, no-cache");
  });

  it("answers for a private account of somebody else exactly as for none", async () => {
    await setVisibility(other, "private");
    const stranger = await app.as(me).get(`/api/v1/users/${other.id}`);
    const nobody = await app.as(me).get("/api/v1/users/01890000-0000-7000-8000-000000000000");
    expect(stranger.status).to.equal(404);
    expect({ ...stranger.body, requestId: "" }).to.deep.equal({ ...nobody.body, requestId: "" });
  });

  it("shows a public profile without e-mail address and role", async () => {
    await setVisibility(other, "public");
    const answer = expectStatus(200, await app.as(me).get(`/api/v1/users/${other.id}`));
    expect(answer.body).to.have.all.keys(PUBLIC_FIELDS);
    expect(JSON.stringify(answer.body)).to.not.include(other.email);
  });

  it("forgets an account that is off", async () => {
    const off = await buildUser(app);
    await setVisibility(off, "public");
    await app.deps.database.pool.query("update users set disabled_at = now() where id = $1", [off.id]);
    expect((await app.as(me).get(`/api/v1/users/${off.id}`)).status).to.equal(404);
  });

  it("needs a token before it says whether anything is there", async () => {
    for (const id of ["me", other.id, "nonsense"]) {
      expect((await app.anonymous.get(`/api/v1/users/${id}`)).status).to.equal(401);
    }
  });
});
