import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { runningPostgres } from "../../dev/postgres.mjs";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { rejection } from "../support/rejection.js";
import { serverPid, testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");
const execute = promisify(execFile);

describe("npm run user", function () {
  this.timeout(30_000);
  let db: TestDatabase;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    user = await insertUser(db.database.pool);
    await db.database.pool.query(
      "update users set username = 'ada', email = 'ada@example.org' where id = $1",
      [user],
    );
  });
  after(() => db.drop());

  const run = async (...args: readonly string[]): Promise<string> => {
    const env = { ...process.env, DATABASE_URL: db.url };
    const { stdout } = await execute(process.execPath, ["dev/bootstrap.mjs", "user", ...args], {
      cwd: ROOT,
      env,
    });
    return stdout;
  };
  const refusal = async (...args: readonly string[]): Promise<string> => {
    const error = (await rejection(run(...args))) as { code: number; stderr: string };
    expect(error.code).to.equal(1);
    return error.stderr;
  };
  const roleNow = async (): Promise<string> =>
    (await db.database.pool.query<{ role: string }>("select role from users where id = $1", [user])).rows[0]!
      .role;

  it("gives a role by user name or e-mail address, in any case, and lists who has which", async () => {
    expect(await run("role", "ADA@example.org", "admin")).to.equal("ada is admin now\n");
    expect(await roleNow()).to.equal("admin");
    const [list, last] = await Promise.all([run("list"), refusal("role", "Ada", "editor")]);
    expect(list).to.match(
      /^user name +e-mail +role +since\nada +ada@example\.org +admin +\d{4}-\d\d-\d\d\n$/,
    );
    expect(last).to.include("Somebody has to be admin");
    expect(await roleNow()).to.equal("admin");
  });

  it("makes an invite, for as long as it is told", async () => {
    const [code = ""] = (await run("invite", "--days", "3")).split("\n");
    expect(code).to.match(/^[\w-]{20,}$/);
    const { rows } = await db.database.pool.query<{ days: number }>(
      "select round(extract(epoch from expires_at - now()) / 86400)::integer as days from invites",
    );
    expect(rows).to.deep.equal([{ days: 3 }]);
  });

  it("says how it is used, and what is not there", async () => {
    const [none, role, days, nobody] = await Promise.all([
      refusal(),
      refusal("role", "ada", "root"),
      refusal("invite", "--days", "0"),
      refusal("role", "nobody", "editor"),
    ]);
    for (const text of [none, role, days]) expect(text).to.include("usage: npm run user -- COMMAND");
    expect(nobody).to.equal("There is no account with the e-mail address or user name nobody\n");
  });

  it("finds the embedded database by its folder, and none where none runs", async function () {
    expect(await runningPostgres(path.join(ROOT, "test"))).to.equal(undefined);
    const folder = process.env["PLAYLOG_STACK_FOLDER"];
    if (folder === undefined || serverPid("postgres") === undefined) return this.skip(); // given from outside
    expect(await runningPostgres(folder)).to.equal(testStack().databaseUrl);
  });
});
