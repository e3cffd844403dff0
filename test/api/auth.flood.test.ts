import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, type TestUser } from "../support/factories.js";

/** Logins at once: far more than may wait for a hash. */
const LOGINS = 200;

describe("a flood of logins", () => {
  let app: TestApp;
  let user: TestUser;
  before(async () => {
    app = await startTestApp({ env: { BCRYPT_COST: "9", RATE_LIMIT: "off" } });
    user = await buildUser(app);
  });
  after(() => app.close());

  it("is answered in part, the rest with 503 and when to come back, and holds up nobody else", async () => {
    let flooding = true;
    const flood = Promise.all(
      Array.from({ length: LOGINS }, (_, n) =>
        app.anonymous.post("/api/v1/auth/login", {
          login: n % 2 === 0 ? user.email : `nobody${n}@example.org`,
          password: user.password,
        }),
      ),
    ).finally(() => (flooding = false));
    let others = 0;
    while (flooding) {
      const [health, me] = await Promise.all([
        app.anonymous.get("/api/v1/health"),
        app.as(user).get("/api/v1/users/me"),
      ]);
      expect([health.status, me.status]).to.deep.equal([200, 200]);
      others += 1;
    }
    expect(others).to.be.above(1);

    const answers = await flood;
    const withStatus = (status: number) => answers.filter((answer) => answer.status === status);
    const [fine, unknown, refused] = [withStatus(200), withStatus(401), withStatus(503)];
    expect(fine.length + unknown.length + refused.length).to.equal(LOGINS);
    expect(fine).to.not.be.empty;
    expect(refused).to.not.be.empty;
    for (const answer of refused) {
      expect(answer.body.code).to.equal("busy");
      expect(Number(answer.headers.get("retry-after"))).to.be.at.least(1);
    }
  });
});
