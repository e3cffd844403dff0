import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { refreshUser } from "../../services/stats/rebuild.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { insertPlays } from "../support/plays.js";
import { rejection } from "../support/rejection.js";
import { insertUser } from "../support/users.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const execute = promisify(execFile);

describe("npm run stats", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    user = await insertUser(db.database.pool);
    await db.database.pool.query("update users set username = 'ada' where id = $1", [user]);
    await insertPlays(db.database.pool, user, [{ playedAt: "2024-05-01T00:00:00Z" }]);
    await refreshUser(db.database.pool, user);
  });
  after(() => db.drop());

  const run = async (...args: readonly string[]): Promise<string> => {
    const env = { ...process.env, DATABASE_URL: db.url };
    const { stdout } = await execute(process.execPath, ["dev/bootstrap.mjs", "stats", ...args], {
      cwd: ROOT,
      env,
    });
    return stdout;
  };
  interface Refusal {
    readonly code: number;
    readonly stdout: string;
    readonly stderr: string;
  }
  const refusal = async (...args: readonly string[]): Promise<Refusal> =>
    (await rejection(run(...args))) as Refusal;

  it("says what is wrong, puts it right, and says how it is used", async () => {
    await db.database.pool.query("update stats_years set ms_played = 1 where year = 2024");
    const [wrong, usage] = await Promise.all([refusal("check"), refusal("chekc")]);
    expect(wrong).to.include({ code: 1, stdout: "ada: 2024 differ\nAccounts: 1 WRONG\n" });
    expect(usage.code).to.equal(1);
    expect(usage.stderr).to.include("usage: npm run stats");
    expect(await refusal("rebuild")).to.include({ code: 1, stdout: "ada: 2024 differ\nAccounts: 1 WRONG\n" });
    expect(await run("check")).to.equal("Accounts: 1 right\n");
  });
});
