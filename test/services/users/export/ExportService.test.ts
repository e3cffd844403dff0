import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { createDatabase, type Database } from "../../../../db/knex.js";
import { ExportService } from "../../../../services/users/export/ExportService.js";
import { PAGE_ROWS } from "../../../../services/users/export/records.js";
import { NotFoundError } from "../../../../utils/errors.js";
import { createTestDatabase, databaseSettings, type TestDatabase } from "../../../support/database.js";
import { insertLongHistory } from "../../../support/plays.js";
import { rejection } from "../../../support/rejection.js";
import { startStatementCounter, type StatementCounter } from "../../../support/statementCounter.js";
import { unzip } from "../../../support/unzip.js";
import { insertUser } from "../../../support/users.js";

const PLAYS = 5_432;

describe("services/users/export/ExportService", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  let counter: StatementCounter;
  let counted: Database;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    user = await insertUser(db.database.pool);
    await insertLongHistory(db.database.pool, user, PLAYS);
    counter = await startStatementCounter(db.url);
    counted = createDatabase(databaseSettings(counter.url), { applicationName: "playlog-test-export" });
  });
  after(async () => {
    await counted.close();
    await counter.close();
    await db.drop();
  });

  async function exported(exports: ExportService): Promise<Awaited<ReturnType<typeof unzip>>> {
    const chunks: Buffer[] = [];
    for await (const chunk of (await exports.open(user)).archive) chunks.push(chunk as Buffer);
    return unzip(Buffer.concat(chunks));
  }
  const linesOf = (text: string | undefined): string[] => (text ?? "").split(/\r?\n/).slice(0, -1);

  it("has a long history whole: each play once, in order", async () => {
    const files = await exported(new ExportService({ pool: db.database.pool }));
    const plays = linesOf(files.get("listening-history.jsonl")?.text).map(
      (line) => JSON.parse(line) as { id: number; playedAt: string; sourceKey: string },
    );
    expect(plays).to.have.length(PLAYS);
    expect(new Set(plays.map(({ id }) => id)).size).to.equal(PLAYS);
    const times = plays.map(({ playedAt }) => playedAt);
    expect(times).to.deep.equal([...times].sort());
    expect(linesOf(files.get("listening-history.csv")?.text)).to.have.length(PLAYS + 1);
  });

  it("says when something was written while it was made", async () => {
    const writer = await insertUser(db.database.pool);
    const { archive } = await new ExportService({ pool: db.database.pool }).open(writer);
    const chunks: Buffer[] = [];
    for await (const chunk of archive) {
      if (chunks.length === 0)
        await db.database.pool.query(
          "update users set bio = bio || 'x', version = version + 1 where id = $1",
          [writer],
        );
      chunks.push(chunk as Buffer);
    }
    const manifest = (await unzip(Buffer.concat(chunks))).get("manifest.json")?.text ?? "";
    expect(JSON.parse(manifest)).to.include({ changedMeanwhile: true });
  });

  it("asks the database for no more than its reader has taken, whatever there is", async () => {
    const { archive } = await new ExportService({ pool: counted.pool }).open(user);
    const chunks = archive[Symbol.asyncIterator]();
    counter.reset();
    let before: number;
    do {
      before = counter.total();
      await chunks.next();
      await sleep(100); // time enough to run ahead, if it did
    } while (counter.total() !== before || before === 0);
    expect(counter.total()).to.be.below((2 * PLAYS) / PAGE_ROWS);
    archive.destroy();
    await sleep(100);
    const left = counter.total();
    await sleep(100);
    expect(counter.total()).to.equal(left);
    expect(counted.pool.idleCount).to.equal(counted.pool.totalCount);
  });

  it("fails, rather than ends, when the database goes away", async () => {
    const { archive } = await new ExportService({ pool: counted.pool }).open(user);
    const chunks = archive[Symbol.asyncIterator]();
    await chunks.next();
    await counter.close();
    const error = await rejection(
      (async () => {
        while ((await chunks.next()).done !== true);
      })(),
    );
    expect(error).to.be.instanceOf(Error);
  });

  it("knows no account that is not there", async () => {
    const exports = new ExportService({ pool: db.database.pool });
    expect(await rejection(exports.open("01890000-0000-7000-8000-000000000000"))).to.be.instanceOf(
      NotFoundError,
    );
  });
});
