import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, randomName, type TestUser } from "../support/factories.js";
import { insertPlays } from "../support/plays.js";
import { until } from "../support/until.js";

const ME = "/api/v1/users/me";
const NOBODY = "01890000-0000-7000-8000-000000000000";

const PROFILE = {
  displayName: "Ada",
  bio: "Counts plays\nsince 1843",
  avatarUrl: "https://example.org/ada.png?size=64",
  country: "GB",
  timeZone: "Europe/London",
  profileVisibility: "public",
  historyVisibility: "public",
} as const;

describe("PUT and PATCH /users", () => {
  let app: TestApp;
  let second: TestApp;
  let me: TestUser;
  let other: TestUser;
  before(async () => {
    app = await startTestApp();
    second = await startTestApp({ beside: app });
    me = await buildUser(app);
    other = await buildUser(app);
  });
  after(async () => {
    await second.close();
    await app.close();
  });

  const tagOf = async (user: TestUser): Promise<string> =>
    (await app.as(user).get(ME)).headers.get("etag") ?? "";

  it("changes what is given and nothing else, by me and by id, and shows it in the next answer", async () => {
    const before = expectStatus(200, await app.as(me).get(ME)).body;
    const changed = expectStatus(200, await app.as(me).patch(ME, PROFILE)).body;
    expect(changed).to.deep.equal({ ...before, ...PROFILE, updatedAt: changed.updatedAt });
    expect(Date.parse(changed.updatedAt)).to.be.above(Date.parse(before.updatedAt));
    expect((await app.as(me).get(ME)).body).to.deep.equal(changed);

    const byId = await app.as(me).patch(`/api/v1/users/${me.id.toUpperCase()}`, { displayName: null });
    expect(expectStatus(200, byId).body).to.deep.include({ ...PROFILE, displayName: null });
  });

  it("replaces with PUT: what is left out gets its default", async () => {
    const { email, username } = me;
    await app.as(me).patch(ME, PROFILE);
    const replaced = expectStatus(200, await app.as(me).put(ME, { email, username, bio: "new" })).body;
    expect(replaced).to.deep.include({
      ...{ email, username, bio: "new", displayName: null, avatarUrl: null, country: null },
      ...{ timeZone: "UTC", profileVisibility: "private", historyVisibility: "private", role: me.role },
    });
    const bare = await app.as(me).put(`/api/v1/users/${me.id}`, {});
    expect(expectStatus(400, bare).body.errors).to.have.deep.members([
      { path: "email", code: "required", message: "email is required" },
      { path: "username", code: "required", message: "username is required" },
    ]);
  });

  it("moves neither tag nor time when everything is as it was", async () => {
    const before = await app.as(me).get(ME);
    const { bio, timeZone } = before.body;
    const same = expectStatus(200, await app.as(me).patch(ME, { bio, timeZone }));
    expect(same.body).to.deep.equal(before.body);
    expect(same.headers.get("etag")).to.equal(before.headers.get("etag"));
  });

  it("changes only what its editor has seen, when it is told what that was", async () => {
    const seen = await tagOf(me);
    const headers = { "if-match": seen };
    const first = expectStatus(200, await app.as(me).patch(ME, { bio: "one" }, { headers }));
    const stale = expectStatus(412, await app.as(me).patch(ME, { bio: "two" }, { headers }));
    expect(stale.body.code).to.equal("precondition_failed");
    expect(first.headers.get("etag")).to.equal(await tagOf(me));
    expect((await app.as(me).get(ME)).body.bio).to.equal("one");
    const { email, username } = me;
    const put = { email, username, bio: "three" };
    expectStatus(412, await app.as(me).put(ME, put, { headers }));
    expectStatus(200, await app.as(me).put(ME, put, { headers: { "if-match": `"x", ${await tagOf(me)}` } }));
    expectStatus(200, await app.as(me).patch(ME, { bio: "four" }, { headers: { "if-match": "*" } }));
  });

  it("lets one of two who saw the same win, whichever process they ask", async () => {
    const headers = { "if-match": await tagOf(me) };
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        (n % 2 === 0 ? app : second).as(me).patch(ME, { bio: `racer ${n}` }, { headers }),
      ),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).to.deep.equal([200, 412, 412, 412, 412, 412]);
    const winner = answers.find(({ status }) => status === 200)?.body.bio as string;
    expect((await app.as(me).get(ME)).body.bio).to.equal(winner);
  });

  describe("refuses", () => {
    const bad: readonly (readonly [field: string, value: unknown, code: string])[] = [
      ["email", "nonsense", "bad_email"],
      ["email", null, "wrong_type"],
      ["username", "a", "bad_format"],
      ["username", "a b", "bad_format"],
      ["username", "<script>", "bad_format"],
      ["displayName", "", "empty"],
      ["displayName", "é".repeat(101), "too_long"],
      ["bio", "x".repeat(4097), "too_long"],
      ["bio", "a\0b", "text_nul"],
      ["bio", "\ud800", "text_not_unicode"],
      ["bio", 5, "wrong_type"],
      ["avatarUrl", "javascript:alert(1)", "bad_url"],
      ["avatarUrl", "data:image/png;base64,AA==", "bad_url"],
      ["avatarUrl", "//example.org/a.png", "bad_url"],
      ["avatarUrl", "https://user:secret@example.org/a.png", "bad_url"],
      ["avatarUrl", "https://exa mple.org/", "bad_url"],
      ["avatarUrl", "https://", "bad_url"],
      ["avatarUrl", `https://example.org/${"a".repeat(2048)}`, "too_long"],
      ["country", "gb", "bad_country"],
      ["country", "ZZ", "bad_country"],
      ["country", "GBR", "too_long"],
      ["timeZone", "Europe/Atlantis", "bad_time_zone"],
      ["timeZone", "+01:00", "bad_time_zone"],
      ["timeZone", "", "empty"],
      ["timeZone", null, "wrong_type"],
      ["profileVisibility", "friends", "not_allowed"],
      ["historyVisibility", null, "not_allowed"],
    ];
    for (const [field, value, code] of bad) {
      it(`${field} = ${JSON.stringify(value).slice(0, 50)} as ${code}`, async () => {
        const { email, username } = me;
        const before = (await app.as(me).get(ME)).body;
        for (const answer of [
          await app.as(me).patch(ME, { [field]: value }),
          await app.as(me).put(ME, { email, username, [field]: value }),
        ]) {
          const { errors } = expectStatus(400, answer).body;
          expect(
            errors.map((error: { path: string; code: string }) => [error.path, error.code]),
          ).to.deep.include([field, code]);
        }
        expect((await app.as(me).get(ME)).body).to.deep.equal(before);
      });
    }

    it("every field that is not the owner's to write, and an empty change", async () => {
      const before = await app.deps.database.pool.query("select * from users where id = $1", [me.id]);
      const { email, username } = me;
      const foreign = {
        ...{
          id: NOBODY,
          role: "admin",
          createdAt: "2020-01-01T00:00:00Z",
          updatedAt: "2020-01-01T00:00:00Z",
        },
        ...{ version: 9, passwordHash: "x", password: "x", disabledAt: null, eraseRequestedAt: null },
        ...{ sessions: [{ id: NOBODY }], user: { role: "admin" }, time_zone: "UTC", userId: NOBODY },
      };
      for (const [field, value] of Object.entries(foreign)) {
        for (const answer of [
          await app.as(me).patch(ME, { bio: "changed", [field]: value }),
          await app.as(me).put(ME, { email, username, [field]: value }),
        ]) {
          expect(expectStatus(400, answer).body.errors, field).to.deep.include({
            path: field,
            code: "unknown_field",
            message: `${field} is not a field of this request`,
          });
        }
      }
      expectStatus(400, await app.as(me).patch(ME, {}));
      const after = await app.deps.database.pool.query("select * from users where id = $1", [me.id]);
      expect(after.rows).to.deep.equal(before.rows);
    });
  });

  it("takes aliases of time zones, and codes of every kind of country", async () => {
    for (const timeZone of ["UTC", "Asia/Kolkata", "America/Argentina/Buenos_Aires", "Etc/GMT+5"])
      expect(expectStatus(200, await app.as(me).patch(ME, { timeZone })).body.timeZone).to.equal(timeZone);
    for (const country of ["NL", "AX", "TW"])
      expect(expectStatus(200, await app.as(me).patch(ME, { country })).body.country).to.equal(country);
  });

  it("refuses an e-mail address and a user name that somebody has, in any case, and says which", async () => {
    const wanted = { email: other.email.toUpperCase(), username: other.username.toUpperCase() };
    const both = expectStatus(409, await app.as(me).patch(ME, wanted)).body;
    expect(both.code).to.equal("taken");
    expect(both.errors.map(({ path }: { path: string }) => path)).to.deep.equal(["email", "username"]);
    const one = await app.as(me).put(ME, { email: me.email, username: other.username });
    expect(expectStatus(409, one).body.errors.map(({ path }: { path: string }) => path)).to.deep.equal([
      "username",
    ]);

    const own = { email: me.email.toUpperCase(), username: me.username.toUpperCase() };
    expect(expectStatus(200, await app.as(me).patch(ME, own)).body).to.include(own);
    await app.as(me).patch(ME, { email: me.email, username: me.username });
  });

  it("gives a name that many want at once to one of them", async () => {
    const users = await Promise.all(Array.from({ length: 4 }, () => buildUser(app)));
    const username = randomName("wanted");
    const answers = await Promise.all(users.map((user) => app.as(user).patch(ME, { username })));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 409, 409, 409]);
  });

  it("lets the new names log in, and not the old ones", async () => {
    const user = await buildUser(app);
    const { password } = user;
    const username = randomName("renamed");
    const email = `${username}@example.org`;
    expectStatus(200, await app.as(user).patch(ME, { username, email }));
    const logIn = (login: string) => app.anonymous.post("/api/v1/auth/login", { login, password });
    expectStatus(200, await logIn(username));
    expectStatus(200, await logIn(email));
    expectStatus(401, await logIn(user.username));
    expectStatus(401, await logIn(user.email));
  });

  it("answers to the id of somebody else as to none, also when the profile is public", async () => {
    await app.as(other).patch(ME, { profileVisibility: "public" });
    const put = { email: "x@example.org", username: "nobody" };
    for (const [method, body] of [
      ["PATCH", { bio: "mine" }],
      ["PUT", put],
    ] as const) {
      const stranger = expectStatus(404, await app.as(me).request(method, `/api/v1/users/${other.id}`, body));
      const nobody = expectStatus(404, await app.as(me).request(method, `/api/v1/users/${NOBODY}`, body));
      expect({ ...stranger.body, requestId: "" }).to.deep.equal({ ...nobody.body, requestId: "" });
      expectStatus(401, await app.anonymous.request(method, `/api/v1/users/${other.id}`, body));
    }
    expect((await app.as(other).get(ME)).body.bio).to.equal(null);
  });

  it("hides and shows profile and plays on the next request of anybody, on every process", async () => {
    const owner = await buildUser(app);
    await insertPlays(app.deps.database.pool, owner.id, [{ playedAt: "2024-05-01T12:00:00Z" }]);
    const profile = `/api/v1/users/${owner.id}`;
    const plays = `/api/v1/listening-history?userId=${owner.id}`;
    const status = async (at: TestApp, address: string) => (await at.as(me).get(address)).status;
    for (const [visibility, expected] of [
      ["public", 200],
      ["private", 404],
      ["public", 200],
      ["private", 404],
    ] as const) {
      expectStatus(
        200,
        await app.as(owner).patch(ME, { profileVisibility: visibility, historyVisibility: visibility }),
      );
      for (const address of [profile, plays]) {
        expect(await status(app, address), address).to.equal(expected);
        // The news takes a moment to the other process: about a millisecond.
        await until(
          `${address} is ${visibility}`,
          async () => (await status(second, address)) === expected,
          2000,
        );
      }
    }
  });
});
