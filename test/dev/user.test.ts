import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { commandOf, run } from "../../dev/commands/user.js";
import { runningPostgres } from "../../dev/postgres.mjs";
import { ConflictError } from "../../utils/errors.js";
import { createTestDatabase, type TestDatabase } from "../support/database.js";
import { rejection } from "../support/rejection.js";
import { serverPid, testStack } from "../support/stack.js";
import { insertUser } from "../support/users.js";

const ROOT = path.resolve(import.meta.dirname, "..", "..");

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

  const answer = (...args: readonly string[]): Promise<string> => {
    const command = commandOf(args);
    return command === undefined ? Promise.reject(new Error("usage")) : command(db.database.pool);
  };
  const roleNow = async (): Promise<string> =>
    (await db.database.pool.query<{ role: string }>("select role from users where id = $1", [user])).rows[0]!
      .role;

  it("gives a role on the database it is told, and says so", async () => {
    const env = { ...process.env, DATABASE_URL: db.url };
    const args = ["dev/bootstrap.mjs", "user", "role", "ADA@example.org", "admin"];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env });
    expect(stdout).to.equal("ada is admin now\n");
    expect(await roleNow()).to.equal("admin");
  });

  it("finds an account by either name in any case, keeps one admin, and lists who is what", async () => {
    expect(await rejection(answer("role", "Ada", "editor"))).to.be.instanceOf(ConflictError);
    expect(String(await rejection(answer("role", "nobody", "editor")))).to.include("There is no account");
    expect(await roleNow()).to.equal("admin");
    expect(await answer("list")).to.match(
      /^user name +e-mail +role +since\nada +ada@example\.org +admin +\d{4}-\d\d-\d\d$/,
    );
  });

  it("makes an invite, for as long as it is told", async () => {
    const [code = ""] = (await answer("invite", "--days", "3")).split("\n");
    expect(code).to.match(/^[\w-]{20,}$/);
    const { rows } = await db.database.pool.query<{ days: number }>(
      "select round(extract(epoch from expires_at - now()) / 86400)::integer as days from invites",
    );
    expect(rows).to.deep.equal([{ days: 3 }]);
  });

  it("says how it is used rather than guess", async () => {
    for (const args of [
      [],
      ["role", "ada"],
      ["role", "ada", "root"],
      ["list", "all"],
      ["invite", "--days", "0"],
      ["invite", "now"],
    ])
      expect(commandOf(args), args.join(" ")).to.equal(undefined);
    expect(String(await rejection(run(["nonsense"])))).to.include("usage: npm run user -- COMMAND");
  });

  it("finds the embedded database by its folder, and none where none runs", async function () {
    expect(await runningPostgres(path.join(ROOT, "test"))).to.equal(undefined);
    const folder = process.env["PLAYLOG_STACK_FOLDER"];
    if (folder === undefined || serverPid("postgres") === undefined) return this.skip(); // given from outside
    expect(await runningPostgres(folder)).to.equal(testStack().databaseUrl);
  });
});
