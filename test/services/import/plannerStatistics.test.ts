import { expect } from "chai";
import type pg from "pg";
import { listenPageStatement } from "../../../db/queries/listeningHistory.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { createBench, json, plays } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("the planner's statistics", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = (): pg.Pool => db.database.pool;

  it("let a page be read in the order of its index as soon as the first import is over", async function () {
    this.timeout(30_000);
    const userId = await insertUser(pool());
    const id = await bench.job(userId, json(plays(6000)), { batchRows: 2000 });
    expect(await bench.run(id)).to.equal("completed");

    const filters = { userId, until: new Date("2020-01-10T00:00:00Z"), includeDuplicates: false };
    const page = listenPageStatement({ filters, order: "desc", limit: 100, hidePrivate: false });
    const plan = await pool().query<{ "QUERY PLAN": string }>(`explain ${page.text}`, [...page.values]);
    const text = plan.rows.map((row) => row["QUERY PLAN"]).join("\n");
    expect(text).to.match(/Index Scan(?: Backward)? using plays_by_time/);
    expect(text).not.to.match(/(Bitmap|Seq) [^\n]*listening_history/);
  });

  it("are not gathered anew for an import that adds little", async () => {
    const analysed = async (): Promise<unknown> =>
      (
        await pool().query<{ n: number }>(
          "select relpages as n from pg_class where oid = 'listening_history'::regclass",
        )
      ).rows[0]!.n;
    const before = await analysed();
    const userId = await insertUser(pool());
    const id = await bench.job(userId, json(plays(1500)), { batchRows: 2000 });
    expect(await bench.run(id)).to.equal("completed");
    expect(await analysed()).to.equal(before);
  });
});
