/** A migration is killed half way where no transaction takes it back. (Those within one: test/db/migrate.test.ts.) */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import pg from "pg";
import { createEmptyDatabase } from "../support/database.js";

const ROOT = path.resolve(import.meta.dirname, "../..");
const LAST = "29990101000000_without_transaction";

describe("a migration that is killed outside of a transaction", function () {
  this.timeout(60_000);
  let folder: string;
  let empty: Awaited<ReturnType<typeof createEmptyDatabase>>;
  const children: ChildProcess[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "playlog-migrations-"));
    await symlink(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"));
    await writeFile(path.join(folder, "package.json"), '{ "type": "module" }');
    await cp(path.join(ROOT, "db"), path.join(folder, "db"), { recursive: true });
    await cp(path.join(ROOT, "utils"), path.join(folder, "utils"), { recursive: true });
    await writeFile(
      path.join(folder, "db/migrations", `${LAST}.ts`),
      `export const config = { transaction: false };
       export const up = async (knex) => {
         await knex.raw("create table if not exists half_way ()");
         if (process.env.PLAYLOG_TEST_SLOW) await knex.raw("select pg_sleep(60)");
         await knex.raw("create table whole ()");
       };
       export const down = (knex) => knex.raw("drop table half_way, whole");`,
    );
    empty = await createEmptyDatabase();
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await empty.drop();
    await rm(folder, { recursive: true, force: true });
  });

  function migrate(env: Readonly<Record<string, string>> = {}): {
    child: ChildProcess;
    ended: Promise<{ code: number | null; printed: string }>;
  } {
    const child = spawn(process.execPath, ["--import", "tsx", path.join(folder, "db/migrate.ts")], {
      cwd: ROOT,
      env: { ...process.env, DATABASE_URL: empty.url, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    let printed = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    return {
      child,
      ended: once(child, "close").then(([code]) => ({ code: code as number | null, printed })),
    };
  }

  async function query<R extends pg.QueryResultRow>(sql: string): Promise<R[]> {
    const client = new pg.Client({ connectionString: empty.url });
    await client.connect();
    try {
      return (await client.query<R>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  it("is completed by the next start, by one of three that start at once", async () => {
    const slow = migrate({ PLAYLOG_TEST_SLOW: "1" });
    const sleeping = `select from pg_stat_activity
      where datname = current_database() and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()`;
    while ((await query(sleeping)).length === 0) await sleep(50);
    slow.child.kill("SIGKILL");
    await slow.ended;
    const half = await query(
      "select to_regclass('half_way') is not null as half, to_regclass('whole') is not null as whole",
    );
    expect(half).to.deep.equal([{ half: true, whole: false }]);
    // knex has marked its table and nobody is left to take the mark back.
    expect(await query("select is_locked from knex_migrations_lock")).to.deep.equal([{ is_locked: 1 }]);

    const runs = await Promise.all([migrate(), migrate(), migrate()].map(({ ended }) => ended));
    expect(
      runs.map(({ code }) => code),
      runs.map(({ printed }) => printed).join("\n"),
    ).to.deep.equal([0, 0, 0]);
    const applied = runs.flatMap(({ printed }) => printed.match(/^applied .*$/gm) ?? []);
    expect(applied).to.deep.equal([`applied  ${LAST}`]);
    expect(await query("select to_regclass('whole') is not null as whole")).to.deep.equal([{ whole: true }]);
    expect(await query("select is_locked from knex_migrations_lock")).to.deep.equal([{ is_locked: 0 }]);
  });
});
