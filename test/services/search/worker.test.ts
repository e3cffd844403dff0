import { expect } from "chai";
import { primaryReads } from "../../../db/replica.js";
import { SearchService } from "../../../services/search/SearchService.js";
import { createRealWorker, type RealWorker } from "../../activities/realWorker.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { until } from "../../support/until.js";
import { insertUser } from "../../support/users.js";
import { json, play } from "../import/importing.js";

/** What is promised. */
const FRESH_MS = 10_000;

describe("search beside a worker", function () {
  this.timeout(60_000);
  let db: TestDatabase;
  let real: RealWorker;
  before(async () => {
    db = await createTestDatabase();
    real = await createRealWorker(db);
    await real.start();
  });
  after(async () => {
    await real.close();
    await db.drop();
  });

  it("finds what an import brought, and a new name, within ten seconds", async () => {
    const { pool } = db.database;
    const search = new SearchService({ reads: primaryReads(pool), parallel: 1 });
    const found = async (q: string): Promise<readonly string[]> => {
      const { data } = await search.search({ q, entities: ["artist", "album", "track"], limit: 10 });
      return data.map(({ type }) => type).sort();
    };
    const user = await insertUser(pool);
    const record = play(1, { title: "Kindling", artist: "The Paper Lanterns", album: "Embers" });
    const { id } = await real.accept(user, json([record]), "history.json");
    await real.settled(user, id);
    await until(
      "the import in the search",
      async () => (await found("paper lanterns")).length === 3,
      FRESH_MS,
    );
    expect(await found("kindling")).to.deep.equal(["track"]);

    await pool.query("update artists set name = 'Glass Kites' where name = 'The Paper Lanterns'");
    await until(
      "the new name in the search",
      async () => (await found("glass kites")).length === 3,
      FRESH_MS,
    );
    expect(await found("paper lanterns")).to.deep.equal([]);
  });
});
