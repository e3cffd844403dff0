import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { from as copyFrom } from "pg-copy-streams";
import { createDatabase, poolStatus } from "../../db/knex.js";
import type { Database } from "../../db/knex.js";
import { sqlState, unavailability } from "../../db/errors.js";
import { createTestDatabase, databaseSettings } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { startTcpProxy } from "../support/tcpProxy.js";
import type { TcpProxy } from "../support/tcpProxy.js";
import { until } from "../support/until.js";

/** The error a promise is rejected with; fails when it is fulfilled. */
async function failure(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("expected a rejection");
}

describe("db/knex", () => {
  let test: TestDatabase;
  let proxy: TcpProxy;
  const opened: Database[] = [];

  const open = (
    over: Partial<Parameters<typeof createDatabase>[0]> = {},
    applicationName = "playlog-knex-test",
  ) => {
    const database = createDatabase({ ...databaseSettings(test.url), ...over }, { applicationName });
    opened.push(database);
    return database;
  };

  before(async () => {
    test = await createTestDatabase();
    proxy = await startTcpProxy(test.url);
  });
  afterEach(async () => {
    proxy.thaw();
    proxy.cut();
    await Promise.all(opened.splice(0).map((database) => database.close()));
  });
  after(async () => {
    await proxy.close();
    await test.drop();
  });

  it("reads bigint as a number, alone and in arrays, and refuses one that a number cannot hold", async () => {
    const { knex, pool } = open();
    const sql =
      "select 9007199254740991::bigint as big, array[1, null, 3]::bigint[] as many, '{}'::bigint[] as none";
    const expected = { big: 9007199254740991, many: [1, null, 3], none: [] };
    expect((await pool.query(sql)).rows).to.deep.equal([expected]);
    expect((await knex.raw(sql)).rows).to.deep.equal([expected]);
    const error = await failure(pool.query("select 9007199254740993::bigint as big"));
    expect(error).to.be.instanceOf(RangeError).with.property("message").that.includes("9007199254740993");
  });

  it("reads a date as the calendar day it is", async () => {
    const { pool } = open();
    expect((await pool.query("select date '1999-12-31' as day")).rows).to.deep.equal([{ day: "1999-12-31" }]);
  });

  it("sets the timeouts and the name on connections of both pools", async () => {
    const { knex, pool } = open({ statementTimeoutMs: 4321, lockTimeoutMs: 1234 }, "playlog-named");
    const sql = `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
      current_setting('idle_in_transaction_session_timeout') as idle, current_setting('application_name') as name`;
    const expected = { statement: "4321ms", lock: "1234ms", idle: "10s", name: "playlog-named" };
    expect((await pool.query(sql)).rows).to.deep.equal([expected]);
    expect((await knex.raw(sql)).rows).to.deep.equal([expected]);
  });

  it("ends statements, waits for locks and idle transactions when their time is over", async () => {
    const { knex, pool } = open({
      statementTimeoutMs: 300,
      lockTimeoutMs: 100,
      idleTransactionTimeoutMs: 100,
    });
    const holder = await test.database.pool.connect();
    try {
      await holder.query("begin; lock table artists in access exclusive mode");
      for (const ask of [(sql: string) => pool.query(sql), (sql: string) => knex.raw(sql)]) {
        expect(sqlState(await failure(ask("select pg_sleep(10)")))).to.equal("57014");
        expect(sqlState(await failure(ask("select 1 from artists")))).to.equal("55P03");
      }
    } finally {
      await holder.query("rollback");
      holder.release();
    }
    const client = await pool.connect();
    const trx = await knex.transaction();
    const ended = new Promise((resolve) => client.once("end", resolve));
    await client.query("begin");
    await Promise.all([ended, sleep(400)]);
    client.release();
    expect(unavailability(await failure(trx.raw("select 1")))).to.equal("database");
    await trx.rollback();
  });

  it("holds no more connections than it may, and closes those that nobody uses down to the least", async () => {
    const { knex, pool } = open({ poolMin: 1, poolMax: 3, idleTimeoutMs: 100 }, "playlog-counted");
    const held = async (): Promise<number> => {
      const { rows } = await test.database.pool.query<{ n: number }>(
        "select count(*) as n from pg_stat_activity where application_name = 'playlog-counted'",
      );
      return rows[0]?.n ?? 0;
    };
    const busy = Array.from({ length: 8 }, () => [
      pool.query("select pg_sleep(0.2)"),
      knex.raw("select pg_sleep(0.2)").then(() => undefined), // begins only when it is waited for
    ]).flat();
    await until("all connections", async () => (await held()) === 6);
    await Promise.all(busy);
    await until("the least", async () => (await held()) === 2);
  });

  it("lets those who can wait longer for a connection do so", async () => {
    const patient = createDatabase(
      { ...databaseSettings(test.url), poolMax: 1, connectTimeoutMs: 100 },
      { applicationName: "playlog-patient", connectTimeoutMs: 5000 },
    );
    opened.push(patient);
    const client = await patient.pool.connect();
    const trx = await patient.knex.transaction();
    const waiting = Promise.all([patient.pool.query("select 1"), patient.knex.raw("select 1")]);
    await sleep(800); // longer than the others may
    client.release();
    await trx.rollback();
    await waiting;
  });

  it("quotes no value of a failed statement", async () => {
    const { knex } = open();
    const error = await failure(knex("artists").insert({ name: "s3cret", nameKey: "[unknown]" }));
    expect(String(error)).to.include("artists_once").and.not.include("s3cret");
  });

  it("names columns in camel case on its own side only", async () => {
    const { knex } = open();
    await knex("artists").insert({ name: "A Name", nameKey: "a name" });
    const row = (await knex("artists").where({ nameKey: "a name" }).first()) as Record<string, unknown>;
    expect(row).to.include({ name: "A Name", nameKey: "a name", popularity: 0 });
    expect(row["createdAt"]).to.be.instanceOf(Date);
  });

  for (const kind of ["knex", "pool"] as const) {
    it(`drops a connection of ${kind} that no longer answers, and the next query works`, async () => {
      const { knex, pool } = open({ url: proxy.through(test.url), statementTimeoutMs: 100, poolMax: 1 });
      const query = () => (kind === "knex" ? knex.raw("select 1") : pool.query("select 1"));
      await query();
      proxy.freeze();
      const error = await failure(query());
      expect(error)
        .to.have.property("message")
        .that.matches(/Query read timeout$/);
      expect(unavailability(error)).to.equal("database");
      proxy.thaw();
      const before = Date.now();
      await query();
      expect(Date.now() - before).to.be.below(1000);
    });
  }

  it("drops a connection that a caller held while it stopped answering", async () => {
    const { pool } = open({ url: proxy.through(test.url), statementTimeoutMs: 100, poolMax: 1 });
    const client = await pool.connect();
    proxy.freeze();
    await failure(client.query("select 1"));
    client.release();
    proxy.thaw();
    expect((await pool.query("select 2 as two")).rows).to.deep.equal([{ two: 2 }]);
  });

  it("gives up a COPY whose server went silent", async () => {
    const { pool } = open({ url: proxy.through(test.url), statementTimeoutMs: 100, poolMax: 1 });
    const client = await pool.connect();
    await client.query("create temporary table t (n int)");
    proxy.freeze();
    const error = await failure(
      pipeline(Readable.from(["1\n"]), client.query(copyFrom("copy t from stdin"))),
    );
    client.release();
    expect(unavailability(error)).to.equal("database");
    proxy.thaw();
    expect((await pool.query("select 2 as two")).rows).to.deep.equal([{ two: 2 }]);
  });

  it("lets a COPY that ended in time alone when the limit passes", async () => {
    const { pool } = open({ statementTimeoutMs: 100, poolMax: 1 });
    const client = await pool.connect();
    await client.query("create temporary table t (n int)");
    await pipeline(Readable.from(["1\n2\n"]), client.query(copyFrom("copy t from stdin")));
    await new Promise((resolve) => setTimeout(resolve, 1300));
    expect((await client.query("select count(*) as n from t")).rows).to.deep.equal([{ n: 2 }]);
    client.release();
  });

  it("survives the end of all its connections, idle and in use", async () => {
    const { knex, pool } = open({ url: proxy.through(test.url) });
    await Promise.all([knex.raw("select 1"), pool.query("select 1")]);
    const held = await pool.connect();
    const removed = new Promise((resolve) => held.once("end", resolve));
    proxy.cut();
    await removed;
    held.release();
    expect((await pool.query("select 1 as n")).rows).to.deep.equal([{ n: 1 }]);
    expect((await knex.raw("select 1 as n")).rows).to.deep.equal([{ n: 1 }]);
  });

  it("tells a full pool from a server that is gone", async () => {
    const full = open({ poolMax: 1, connectTimeoutMs: 300 });
    const client = await full.pool.connect();
    const trx = await full.knex.transaction();
    expect(unavailability(await failure(full.pool.query("select 1")))).to.equal("busy");
    expect(unavailability(await failure(full.knex.raw("select 1")))).to.equal("busy");
    client.release();
    await trx.rollback();

    const gone = open({ url: "postgres://nobody@127.0.0.1:1/none", connectTimeoutMs: 300 });
    expect(unavailability(await failure(gone.pool.query("select 1")))).to.equal("database");
    expect(unavailability(await failure(gone.knex.raw("select 1")))).to.equal("database");

    proxy.freeze();
    const silent = open({ url: proxy.through(test.url), connectTimeoutMs: 300 });
    expect(unavailability(await failure(silent.pool.query("select 1")))).to.equal("database");
    expect(unavailability(await failure(silent.knex.raw("select 1")))).to.equal("database");
  });

  it("counts used, free and waiting connections of both pools", async () => {
    const database = open({ poolMin: 1, poolMax: 2 });
    const idle = { min: 1, max: 2, used: 0, free: 0, pending: 0 };
    expect(poolStatus(database)).to.deep.equal({ knex: idle, pool: idle });
    const clients = await Promise.all([database.pool.connect(), database.pool.connect()]);
    const trx = await database.knex.transaction();
    const waiting = database.pool.query("select 1");
    expect(poolStatus(database)).to.deep.equal({
      knex: { ...idle, used: 1 },
      pool: { ...idle, used: 2, pending: 1 },
    });
    for (const client of clients) client.release();
    await Promise.all([waiting, trx.commit()]);
    expect(poolStatus(database)).to.deep.equal({ knex: { ...idle, free: 1 }, pool: { ...idle, free: 2 } });
  });

  it("closes once, however often it is asked", async () => {
    const database = open();
    await database.knex.raw("select 1");
    await Promise.all([database.close(), database.close()]);
    expect(await failure(database.pool.query("select 1"))).to.be.instanceOf(Error);
  });
});
