import { expect } from "chai";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { buildUser } from "../support/factories.js";

describe("advisory locks", () => {
  let app: TestApp;
  before(async () => {
    app = await startTestApp();
  });
  after(() => app.close());

  it("are told apart by their numbers", () => {
    const numbers = Object.values(ADVISORY_LOCKS);
    expect(new Set(numbers).size).to.equal(numbers.length);
  });

  it("let people register while another process reconciles", async () => {
    const client = await app.deps.database.pool.connect();
    try {
      await client.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.reconcile]);
      expect((await buildUser(app)).role).to.equal("admin");
    } finally {
      await client.query("select pg_advisory_unlock_all()");
      client.release();
    }
  });
});
