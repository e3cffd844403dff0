import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { expect } from "chai";
import { from as copyFrom } from "pg-copy-streams";
import { createDatabase, type Database } from "../../db/knex.js";
import { fingerprintOf, logStatements, type SqlLogSettings } from "../../db/sqlLog.js";
import { addSqlMetrics } from "../../db/sqlMetrics.js";
import { operationOf } from "../../db/statements.js";
import { createLogger, type LogFields, withLogFields } from "../../utils/logger.js";
import { createRegistry } from "../../utils/metrics.js";
import { createTestDatabase, databaseSettings, type TestDatabase } from "../support/database.js";
import { rejection } from "../support/rejection.js";
import { Scrape } from "../support/scrape.js";

describe("statements in the log", () => {
  let test: TestDatabase;
  const opened: Database[] = [];

  before(async () => {
    test = await createTestDatabase();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((database) => database.close()));
  });
  after(() => test.drop());

  const open = (settings: SqlLogSettings) => {
    const database = createDatabase(databaseSettings(test.url), { applicationName: "playlog-sql-log" });
    opened.push(database);
    let text = "";
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        text += chunk.toString();
        done();
      },
    });
    logStatements(
      database,
      settings,
      createLogger({ level: "debug", format: "json" }, { service: "test" }, stream),
    );
    const lines = (): LogFields[] =>
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as LogFields)
        .filter(({ statement }) => statement !== "select version();"); // knex asks each new connection
    return { ...database, lines, text: () => text };
  };

  it("are one line each, of both pools, with the request they were for and without values", async () => {
    const { knex, pool, lines, text } = open({ mode: "all", slowMs: 60_000 });
    await withLogFields({ requestId: "first" }, async () => {
      await pool.query("select $1::text as a, 'canary-literal' as b, 4711 as c", ["canary-value"]);
      await knex.raw("select ? as a", ["canary-value"]);
    });
    await withLogFields({ requestId: "second" }, async () => {
      await Promise.all([
        pool.query({ name: "named", text: "select n from generate_series(1, $1::int) n", values: [3] }),
        knex("artists").where({ nameKey: "canary-value" }).update({ name: "canary-value" }),
      ]);
      const client = await pool.connect();
      await client.query("begin");
      await client.query("create temporary table t (n int) on commit drop");
      await pipeline(Readable.from(["1\n2\n"]), client.query(copyFrom("copy t from stdin")));
      await client.query("commit");
      client.release();
    });
    expect(text()).to.not.match(/canary|4711/);
    const told = lines().map(({ requestId, operation, rows }) => [requestId, operation, rows]);
    expect(told.slice(0, 2)).to.deep.equal([
      ["first", "select", 1],
      ["first", "select", 1],
    ]);
    expect(told.slice(2, 4)).to.have.deep.members([
      ["second", "select", 3],
      ["second", "update", 0],
    ]);
    expect(told.slice(4)).to.deep.equal([
      ["second", "transaction", null],
      ["second", "other", null],
      ["second", "copy", 2],
      ["second", "transaction", null],
    ]);
    for (const line of lines()) {
      expect(line).to.include.keys("fingerprint", "statement", "ms");
      expect(line).to.include({ message: "sql", level: "info" });
    }
    expect(lines()[0]).to.include({ statement: "select ?::text as a, ? as b, ? as c" });
  });

  it("are only the slow ones, as warnings, when that is asked for", async () => {
    const { pool, lines } = open({ mode: "slow", slowMs: 100 });
    await Promise.all([pool.query("select 1"), pool.query("select pg_sleep(0.15)")]);
    expect(lines()).to.have.length(1);
    expect(lines()[0]).to.include({ message: "slow sql", level: "warn", statement: "select pg_sleep(?)" });
    expect(lines()[0]?.["ms"]).to.be.within(100, 5000);
  });

  it("are none when they are off", async () => {
    const { pool, text } = open({ mode: "off", slowMs: 0 });
    await pool.query("select 1");
    expect(text()).to.equal("");
  });

  it("say of a failure its code and nothing of the row", async () => {
    const { pool, knex, lines, text } = open({ mode: "all", slowMs: 60_000 });
    await rejection(pool.query("select 'canary'::int"));
    await rejection(knex("artists").insert({ name: "canary", nameKey: "[unknown]" }));
    expect(lines().map(({ failed, rows }) => [failed, rows])).to.deep.equal([
      ["22P02", null],
      ["23505", null],
    ]);
    expect(text()).to.not.include("canary");
  });

  it("carry the request of whoever sent them, not of whoever opened the connection", async () => {
    const { pool, lines } = open({ mode: "all", slowMs: 60_000 });
    await withLogFields({ requestId: "opener", importId: "x" }, () => pool.query("select 1"));
    await withLogFields({ requestId: "sender" }, () => pool.query("select 2"));
    await pool.query("select 3");
    expect(lines().map(({ requestId, importId }) => [requestId, importId])).to.deep.equal([
      ["opener", "x"],
      ["sender", undefined],
      [undefined, undefined],
    ]);
  });

  it("count in metrics by kind and outcome", async () => {
    const { pool, statements } = open({ mode: "off", slowMs: 0 });
    const registry = createRegistry();
    addSqlMetrics(registry, { statements });
    await pool.query("select 1");
    await pool.query("with t as (select 1) select * from t");
    await rejection(pool.query("select nothing"));
    await pool.query("delete from artists where false");
    const seen = new Scrape(await registry.metrics());
    const count = (operation: string, outcome: string) =>
      seen.value("playlog_sql_seconds_count", { operation, outcome });
    expect([count("select", "ok"), count("select", "failed"), count("delete", "ok")]).to.deep.equal([
      2, 1, 1,
    ]);
  });
});

describe("the fingerprint of a statement", () => {
  const same: readonly (readonly [string, string])[] = [
    ["select * from a where id = 1", "select  *\n from a where id = 22"],
    ["select 'a'", "select 'it''s -- no comment'"],
    ["insert into a values (1, 2), (3, 4)", "insert into a values (5, 6)"],
    ["select $1, $2", "select $3, $4"],
    ["select 1 from a where b in ($1, $2, $3)", "select 1 from a where b in ($1)"],
    ["select E'it\\'s' from a", "select 'x' from a"],
    ["select $$a 'secret'$$ from a", "select $t$b$t$ from a"],
    ["select 1 -- secret\nfrom a /* secret 'quoted */ where b = 'c'", "select 2 from a where b = 'd'"],
  ];
  for (const [one, other] of same) {
    it(`is the same for ${JSON.stringify(one)} and ${JSON.stringify(other)}`, () => {
      expect(fingerprintOf(one)).to.deep.equal(fingerprintOf(other));
    });
  }

  it("is another for another statement, and keeps names that have digits in them", () => {
    expect(fingerprintOf('select "col 1", int4 from t2 as x1').statement).to.equal(
      'select "col 1", int4 from t2 as x1',
    );
    expect(fingerprintOf("select 1 from a").fingerprint).to.not.equal(
      fingerprintOf("select 1 from b").fingerprint,
    );
  });

  it("shows no value, however it is written, and no more than a beginning", () => {
    for (const text of [
      "select 'canary', '--', 'canary'",
      "select '/*', 'canary', '*/ canary'",
      "select '--\n', 'canary'",
      "select 'a\\', 'canary'",
      "select E'a\\', canary', 'canary'",
      "select 'canary",
      "select $x$ canary $y$ canary $x$",
    ])
      expect(fingerprintOf(text).statement, text).to.not.include("canary");
    expect(fingerprintOf(`select ${"a, ".repeat(1000)} b`).statement.length).to.be.below(210);
  });

  it("comes with the kind of the statement", () => {
    const kinds: readonly (readonly [string, string])[] = [
      ["  select 1", "select"],
      ["-- why\n/* and how */ UPDATE a SET b = 1", "update"],
      ["with a as (insert into b values (1) returning c) select * from a", "insert"],
      ["with a as (select 1) update b x set c = 1", "update"],
      ["with a as (select 1 for update) select * from a", "select"],
      ["with a as (select 1) delete from b", "delete"],
      ["copy a from stdin (format binary)", "copy"],
      ["BEGIN;", "transaction"],
      ["rollback to savepoint a", "transaction"],
      ["lock table a", "other"],
      ["", "other"],
    ];
    for (const [text, kind] of kinds) expect(operationOf(text), text).to.equal(kind);
  });
});
