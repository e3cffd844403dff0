import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { createDatabase, type Database } from "../../../db/knex.js";
import { DatabaseListener } from "../../../db/listener.js";
import {
  accountOf,
  announceChange,
  CATALOGUE,
  historyOf,
  readVersions,
} from "../../../db/queries/cacheVersions.js";
import { CacheVersions } from "../../../services/cache/CacheVersions.js";
import { createTestDatabase, databaseSettings, type TestDatabase } from "../../support/database.js";
import { startStatementCounter, type StatementCounter } from "../../support/statementCounter.js";
import { startTcpProxy, type TcpProxy } from "../../support/tcpProxy.js";
import { until } from "../../support/until.js";
import { insertUser } from "../../support/users.js";
import { quietLog } from "../import/importing.js";

describe("versions of what is cached", () => {
  let db: TestDatabase;
  let counter: StatementCounter;
  let database: Database;
  let proxy: TcpProxy;
  let listener: DatabaseListener;
  let versions: CacheVersions;
  let user: string;

  before(async () => {
    db = await createTestDatabase();
  });
  after(() => db.drop());

  beforeEach(async () => {
    counter = await startStatementCounter(db.url);
    database = createDatabase(databaseSettings(counter.url), { applicationName: "playlog-versions" });
    proxy = await startTcpProxy(db.url);
    listener = new DatabaseListener({ databaseUrl: proxy.through(db.url), log: quietLog });
    versions = new CacheVersions({ listener, pool: database.pool });
    await listener.start();
    await until("trust", () => listener.trusted);
    user = await insertUser(db.database.pool);
  });
  afterEach(async () => {
    await listener.close();
    await database.close();
    await Promise.all([proxy.close(), counter.close()]);
  });

  const history = async (): Promise<number | undefined> => (await versions.current([historyOf(user)]))?.[0];
  const stored = async (): Promise<number | null | undefined> =>
    (await readVersions(db.database.pool, [historyOf(user)]))[0];
  const change = () => announceChange(db.database.pool, historyOf(user));

  it("are read once and then known", async () => {
    expect(await versions.current([historyOf(user), accountOf(user), CATALOGUE])).to.deep.equal([0, 0, 0]);
    counter.reset();
    expect(await versions.current([CATALOGUE, accountOf(user.toUpperCase())])).to.deep.equal([0, 0]);
    expect(counter.total()).to.equal(0);
  });

  it("move with each change, by whomever, and never back", async () => {
    let last = await history();
    for (let n = 0; n < 5; n += 1) {
      await change();
      const now = await stored();
      expect(now).to.be.above(last ?? Infinity);
      await until("the news", async () => (await history()) === now);
      last = now ?? undefined;
    }
  });

  it("move with a transaction only when it commits", async () => {
    const before = await history();
    await db.database.knex.transaction(async (trx) => {
      await trx.raw("select announce_change('history', ?)", [user]);
      expect(await listener.caughtUp(1000)).to.equal(true);
      expect(await history()).to.equal(before);
    });
    expect(await listener.caughtUp(1000)).to.equal(true);
    expect(await history()).to.be.above(before ?? Infinity);
  });

  it("are those of a change that was heard while the old one was being read", async () => {
    // The reader is kept waiting until the change is committed and heard, then gets what it asked for before.
    const lock = await db.database.pool.connect();
    try {
      for (let n = 0; n < 20; n += 1) {
        const other = await insertUser(db.database.pool);
        const reading = versions.current([historyOf(other)]);
        await announceChange(lock, historyOf(other));
        await Promise.all([reading, listener.caughtUp(1000)]);
        expect((await versions.current([historyOf(other)]))?.[0]).to.be.above(0);
      }
    } finally {
      lock.release();
    }
  });

  it("move when an account changes or goes, without anybody announcing it", async () => {
    expect((await versions.current([accountOf(user)]))?.[0]).to.equal(0);
    await db.database.pool.query("update users set bio = 'new' where id = $1", [user]);
    expect(await listener.caughtUp(1000)).to.equal(true);
    const changed = (await versions.current([accountOf(user)]))?.[0];
    expect(changed).to.be.above(0);

    await db.database.pool.query("update users set bio = 'new' where id = $1", [user]);
    expect(await listener.caughtUp(1000)).to.equal(true);
    expect((await versions.current([accountOf(user)]))?.[0], "nothing changed").to.equal(changed);

    await db.database.pool.query("delete from users where id = $1", [user]);
    expect(await listener.caughtUp(1000)).to.equal(true);
    expect((await versions.current([accountOf(user)]))?.[0]).to.be.above(changed ?? Infinity);
    expect(await readVersions(db.database.pool, [accountOf(user)])).to.deep.equal([null]);
    const left = await db.database.pool.query("select from cache_versions where owner = $1", [user]);
    expect(left.rowCount).to.equal(0);
  });

  it("are none for an account that is not there", async () => {
    expect(await versions.current([CATALOGUE, accountOf(randomUUID())])).to.equal(null);
  });

  it("are asked of the database, each time, while the listener is cut off, and known again afterwards", async () => {
    await history();
    await proxy.refuse();
    await until("the end of trust", () => !listener.trusted);
    counter.reset();
    await change();
    expect(await history()).to.equal(await stored());
    await change();
    expect(await history()).to.equal(await stored());
    expect(counter.total()).to.equal(2);

    await proxy.accept();
    await until("trust", () => listener.trusted);
    expect(await history()).to.equal(await stored());
    counter.reset();
    expect(await history()).to.equal(await stored());
    expect(counter.total()).to.equal(0);
  });

  it("are asked of the database when the listener goes silent without a word, after three seconds", async () => {
    const before = await history();
    proxy.freeze();
    await change();
    expect(await history(), "nothing can be known yet").to.equal(before);
    await until("the end of trust", () => !listener.trusted, 4000);
    expect(await history()).to.equal(await stored());
  });

  it("are asked of the database by a writer whose listener does not hear its change in time", async () => {
    await history();
    proxy.freeze();
    await change();
    await versions.caughtUp(100);
    expect(listener.trusted).to.equal(false);
    expect(await history()).to.equal(await stored());
  });

  it("are known to a writer as soon as it has caught up", async () => {
    for (let n = 0; n < 50; n += 1) {
      await change();
      await versions.caughtUp(2000);
      counter.reset();
      expect(await history()).to.equal(await stored());
    }
    expect(listener.trusted).to.equal(true);
  });

  it("are known to many writers at once, whose questions the connection takes one after the other", async () => {
    const owners = await Promise.all(Array.from({ length: 30 }, () => insertUser(db.database.pool)));
    const of = async (owner: string) => (await versions.current([historyOf(owner)]))?.[0];
    for (const owner of owners) await of(owner);
    const warnings: Error[] = [];
    const warned = (warning: Error): number => warnings.push(warning);
    process.on("warning", warned);
    try {
      const seen = await Promise.all(
        owners.map(async (owner) => {
          await announceChange(db.database.pool, historyOf(owner));
          await versions.caughtUp(2000);
          return of(owner);
        }),
      );
      expect(seen).to.deep.equal(await readVersions(db.database.pool, owners.map(historyOf)));
      expect(Math.min(...seen.map(Number))).to.be.above(0);
      expect(listener.trusted).to.equal(true);
      expect(warnings).to.deep.equal([]);
    } finally {
      process.off("warning", warned);
    }
  });
});
