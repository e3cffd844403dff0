import { createHmac } from "node:crypto";
import { expect } from "chai";
import { createInvite } from "../../services/auth/invites.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { logIn, makeToken, refresh, sessionOf, statusOf } from "../support/credentials.js";
import { dumpOf } from "../support/dump.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";

const FIRST = "the first signing secret of this test (long enough)";
const SECOND = "the second signing secret of this test (as long)";

describe("a stolen database", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp();
    user = await buildUser(app);
  });
  after(() => app.close());

  it("holds no password, token or code, and neither do Redis and the logs", async () => {
    const script = await makeToken(app, user);
    const invite = await createInvite(app.deps.database.pool);
    const second = expectStatus(200, await refresh(app, user)).body as TestUser;
    for (const credential of [second, script]) expect(await statusOf(app, credential)).to.equal(200);

    const { client, namespace } = app.redisKeys;
    const keys = await client.keys(`${namespace}:*`);
    const values = await Promise.all(keys.map(async (key) => `${key} ${await client.get(key)}`));
    const text = [await dumpOf(app.deps.database.pool), ...values, app.logs()].join("\n");
    expect(text).to.include(sessionOf(user)).and.to.include(script.id);

    const parts = [user, second].flatMap(({ accessToken, refreshToken }) => [
      accessToken.split(".")[2] ?? "",
      refreshToken.split(".")[2] ?? "",
    ]);
    for (const secret of [
      user.password,
      script.accessToken.slice("playlog_".length),
      invite.code,
      ...parts,
    ]) {
      expect(secret).to.have.length.above(20);
      const bytes = Buffer.from(secret, "base64url");
      for (const form of [
        secret,
        bytes.toString("hex"),
        bytes.toString("base64"),
        Buffer.from(secret).toString("hex"),
      ]) {
        expect(text.includes(form), `a form of a secret of ${secret.length} characters`).to.equal(false);
      }
    }
  });

  it("makes no refresh token: that takes the signing secret, too", async () => {
    const session = await logIn(app, user);
    const { rows } = await app.deps.database.pool.query<{ refresh_key: Buffer; refresh_counter: number }>(
      "select refresh_key, refresh_counter from sessions where id = $1",
      [sessionOf(session)],
    );
    const { refresh_key: key, refresh_counter: counter } = rows[0]!;
    const id = sessionOf(session);
    const guesses = [
      `playlog refresh v1|${id}|${counter}`,
      `playlog refresh v2|${key.toString("hex")}|${id}|${counter}`,
    ];
    for (const guess of guesses) {
      const mac = createHmac("sha256", key).update(guess).digest("base64url");
      expect((await refresh(app, { refreshToken: `${id}.${counter}.${mac}` })).status).to.equal(401);
    }
    expectStatus(200, await refresh(app, session));
  });
});

describe("a new signing secret", () => {
  it("replaces the old one step by step, and whoever refreshes in between notices nothing", async () => {
    const before = await startTestApp({ env: { JWT_SECRET: FIRST } });
    const boot = (current: string, previous = "") =>
      startTestApp({ beside: before, env: { JWT_SECRET: current, JWT_PREVIOUS_SECRETS: previous } });
    const [announced, signing, done] = [
      await boot(FIRST, SECOND),
      await boot(SECOND, `${FIRST}, a secret of long ago that nobody knows any more`),
      await boot(SECOND),
    ];
    try {
      const user = await buildUser(before);
      const asleep = await logIn(before, user);
      expect(await statusOf(signing, user)).to.equal(200);
      const renewed = expectStatus(200, await refresh(signing, user)).body as TestUser;
      // One that was started before the last step understands it; one that never heard of the new secret does not.
      expect(await statusOf(announced, renewed)).to.equal(200);
      expect(await statusOf(before, renewed)).to.equal(401);
      const again = expectStatus(200, await refresh(announced, renewed)).body as TestUser;
      const last = expectStatus(200, await refresh(signing, again)).body as TestUser;

      expect(await statusOf(done, last)).to.equal(200);
      for (const old of [user, asleep]) expect(await statusOf(done, old)).to.equal(401);
      expect((await refresh(done, asleep)).status).to.equal(401);
      // A token that nobody here can have made ends no session.
      expectStatus(200, await refresh(signing, asleep));
      expectStatus(200, await refresh(done, last));
    } finally {
      await Promise.all([announced.close(), signing.close(), done.close()]);
      await before.close();
    }
  });
});
