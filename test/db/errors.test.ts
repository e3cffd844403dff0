import { expect } from "chai";
import { UniqueViolationError } from "objection";
import { brokenConstraint, sqlState, toAppError, unavailability } from "../../db/errors.js";
import { Artist } from "../../db/models/Artist.js";
import { UnavailableError, ValidationError } from "../../utils/errors.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";

/** As pg throws it. */
const pgError = (code: string) => Object.assign(new Error("as the server says"), { code });

describe("db/errors", () => {
  let test: TestDatabase;

  before(async () => {
    test = await createTestDatabase();
  });
  after(() => test.drop());

  const failure = async (promise: PromiseLike<unknown>): Promise<unknown> => {
    try {
      await promise;
    } catch (error) {
      return error;
    }
    throw new Error("expected a rejection");
  };

  const codes: Record<string, "database" | "busy" | null> = {
    "08006": "database",
    "57P01": "database",
    "57P03": "database",
    "57014": "database",
    "53300": "database",
    "53100": "database",
    "53200": "database",
    "55P03": "database",
    "25006": "database",
    "28P01": "database",
    "3D000": "database",
    "40001": "busy",
    "40P01": "busy",
    "23505": null,
    "23503": null,
    "22P02": null,
    "42P01": null,
  };
  for (const [code, reason] of Object.entries(codes)) {
    it(`judges ${code}: ${reason ?? "no outage"}`, () => {
      const wrapped = new Error("while saving", { cause: pgError(code) });
      for (const error of [pgError(code), wrapped]) {
        expect(sqlState(error)).to.equal(code);
        expect(unavailability(error)).to.equal(reason);
      }
    });
  }

  it("knows a network that does not work, also on two addresses at once", () => {
    const refused = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    for (const error of [refused, new AggregateError([refused, refused])]) {
      expect(unavailability(error)).to.equal("database");
      expect(sqlState(error)).to.equal(null);
    }
    expect(unavailability(Object.assign(new Error("x"), { code: "EPIPE" }))).to.equal("database");
  });

  it("leaves errors alone that are not about the database", () => {
    for (const error of [new Error("ENOENT"), new ValidationError("no"), new TypeError("x"), "text", null]) {
      expect(unavailability(error)).to.equal(null);
      expect(toAppError(error)).to.equal(error);
    }
  });

  it("turns a statement that took too long into 503 with a time to wait, and keeps the cause", async () => {
    const error = await failure(test.database.pool.query("set statement_timeout = 50; select pg_sleep(5)"));
    const mapped = toAppError(error);
    expect(mapped).to.be.instanceOf(UnavailableError).and.include({ status: 503, code: "database" });
    expect(mapped).to.have.property("cause", error);
    expect((mapped as UnavailableError).retryAfterSeconds).to.be.greaterThan(0);
    expect(toAppError(mapped)).to.equal(mapped);
  });

  it("turns a lock that was not given in time into 503", async () => {
    const { knex } = test.database;
    const holder = await knex.transaction();
    await holder.raw("lock table connections");
    const error = await failure(
      knex.transaction((trx) =>
        trx.raw("set local lock_timeout = 50").then(() => trx.raw("lock table connections")),
      ),
    );
    await holder.rollback();
    expect(toAppError(error)).to.include({ status: 503, code: "database" });
  });

  it("turns the end of the connection by the server into 503", async () => {
    const { knex, pool } = test.database;
    const victim = await pool.connect();
    const { rows } = await victim.query<{ pid: number }>("select pg_backend_pid() as pid");
    const sleeping = failure(victim.query("select pg_sleep(20)"));
    await knex.raw("select pg_terminate_backend(?)", [rows[0]?.pid ?? 0]);
    expect(toAppError(await sleeping)).to.include({ status: 503, code: "database" });
    victim.release(true);
  });

  it("asks for another try soon when a transaction lost against another one", () => {
    expect(toAppError(pgError("40P01"))).to.include({ status: 503, code: "busy", retryAfterSeconds: 1 });
  });

  it("finds the broken constraint behind Objection and behind pg", async () => {
    const { knex, pool } = test.database;
    const row = { name: "Twice", nameKey: "twice" };
    await Artist.query(knex).insert(row);
    const wrapped = await failure(Artist.query(knex).insert(row));
    expect(wrapped).to.be.instanceOf(UniqueViolationError);
    const plain = await failure(pool.query("insert into artists (name, name_key) values ('Twice', 'twice')"));
    for (const error of [wrapped, plain]) {
      expect(brokenConstraint(error)).to.equal("artists_once");
      expect(sqlState(error)).to.equal("23505");
      expect(unavailability(error)).to.equal(null);
    }
    expect(brokenConstraint(new Error("none"))).to.equal(null);
  });
});
