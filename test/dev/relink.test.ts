import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { run as relink } from "../../dev/commands/relink.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { insertPlays } from "../support/plays.js";
import { rejection } from "../support/rejection.js";
import { insertUser } from "../support/users.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const execute = promisify(execFile);

describe("npm run relink", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  before(async () => {
    db = await createTestDatabase();
  });
  after(() => db.drop());

  it("links what was not linked, takes back links that the rules do not make, and says so", async () => {
    const { pool } = db.database;
    const [ada, bob] = [await insertUser(pool), await insertUser(pool)];
    await pool.query("update users set username = case id when $1 then 'ada' else 'bob' end", [ada]);
    const at = "2024-05-01T00:00:00Z";
    const [leader = 0] = await insertPlays(pool, ada, [{ playedAt: at }]);
    await insertPlays(pool, ada, [
      { playedAt: at, source: "lastfm" },
      { playedAt: "2024-05-02T00:00:00Z", source: "lastfm", duplicateOf: leader },
    ]);
    await insertPlays(pool, bob, [{ playedAt: at, source: "lastfm" }]);
    const env = { ...process.env, DATABASE_URL: db.url };
    const { stdout } = await execute(process.execPath, ["dev/bootstrap.mjs", "relink"], { cwd: ROOT, env });
    expect(stdout).to.equal(
      "ada: 2 plays were linked otherwise\nRules: version 1. Accounts: 2; plays that were linked otherwise: 2\n",
    );
    const { rows } = await pool.query<{ follows: number | null }>(
      "select duplicate_of as follows from listening_history where user_id = $1 order by id",
      [ada],
    );
    expect(rows.map(({ follows }) => follows)).to.deep.equal([null, leader, null]);
    expect(String(await rejection(relink(["now"])))).to.include("usage: npm run relink");
  });
});
