import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser, randomName, registration } from "../support/factories.js";

describe("registering and logging in", () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp();
  });
  after(() => app.close());

  it("creates an account and answers with credentials that work", async () => {
    const fields = registration({ displayName: "Ada" });
    const answer = await app.anonymous.post("/api/v1/auth/register", fields);

    expect(answer.status).to.equal(201);
    expect(answer.body).to.have.all.keys("user", "accessToken", "refreshToken", "tokenType", "expiresIn");
    expect(answer.body.user).to.include({ email: fields.email, displayName: "Ada", bio: null });
    expect(answer.body).to.include({ tokenType: "Bearer", expiresIn: 600 });
    const me = await app.as(answer.body).get("/api/v1/users/me");
    expect(me.status).to.equal(200);
    expect(me.body).to.deep.equal(answer.body.user);
  });
  void randomName;
  void buildUser;
});
