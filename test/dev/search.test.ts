import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { run } from "../../dev/commands/search.js";
import { insertTracks } from "../services/search/support.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { rejection } from "../support/rejection.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");

describe("npm run search", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  before(async () => {
    db = await createTestDatabase();
  });
  after(() => db.drop());

  it("makes the index of the database it is told, and says how large it is", async () => {
    await insertTracks(db.database.pool, [{ artist: "Velvet Harbour", title: "Isbre", album: "Low Tide" }]);
    const env = { ...process.env, DATABASE_URL: db.url };
    const args = ["dev/bootstrap.mjs", "search", "rebuild"];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
    expect(stdout).to.match(/^3 names and 5 words in [\d.]+ s\n$/);
    const { rows } = await db.database.pool.query("select count(*) as n from search_documents");
    expect(rows).to.deep.equal([{ n: 3 }]);
  });

  it("does nothing that it is not told", async () => {
    for (const args of [[], ["build"], ["rebuild", "now"]])
      expect(((await rejection(run(args))) as Error).message).to.match(/^usage: /);
  });
});
