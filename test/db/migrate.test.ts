import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect } from "chai";
import pg from "pg";
import { migrateToLatest, migrationStatus, rollback } from "../../db/migrate.js";
import { dumpSchema } from "../../db/schemaDump.js";
import { createEmptyDatabase } from "../support/database.js";

const ROOT = path.resolve(import.meta.dirname, "../..");
const EMPTY_DUMP = /^--[^\n]*\n\n\n$/;

type EmptyDatabase = Awaited<ReturnType<typeof createEmptyDatabase>>;

describe("db/migrate", () => {
  let empty: EmptyDatabase;
  const children = new Set<ChildProcess>();
  let folder: string;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "playlog-migrate-"));
    await symlink(path.join(ROOT, "node_modules"), path.join(folder, "node_modules"));
    await writeFile(path.join(folder, "package.json"), '{ "type": "module" }');
  });
  beforeEach(async () => {
    empty = await createEmptyDatabase();
  });
  afterEach(async () => {
    for (const child of children) child.kill("SIGKILL");
    children.clear();
    await empty.drop();
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** The command as ops run it. */
  async function command(
    script: string,
    args: readonly string[],
    env: Record<string, string> = { DATABASE_URL: empty.url },
  ): Promise<{ code: number | null; out: string; err: string }> {
    const child = start(script, args, env);
    const output = { out: "", err: "" };
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (output.out += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (output.err += text));
    await once(child, "close");
    return { code: child.exitCode, ...output };
  }

  function start(script: string, args: readonly string[], env: Record<string, string>): ChildProcess {
    const { DATABASE_URL: _, ...rest } = process.env;
    const child = spawn(process.execPath, ["--import", "tsx", script, ...args], {
      cwd: ROOT,
      env: { ...rest, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.add(child);
    return child;
  }

  const SOURCES = ["migrate.ts", "advisoryLocks.ts"];
  const SOURCE = path.join(ROOT, "db/migrate.ts");

  /** A copy of db/ with more migrations, to try what the real ones do not contain. */
  async function withMigrations(name: string, extra: Record<string, string>): Promise<string> {
    const target = path.join(folder, name);
    await mkdir(target);
    await cp(path.join(ROOT, "db/migrations"), path.join(target, "migrations"), { recursive: true });
    for (const name of SOURCES) await cp(path.join(ROOT, "db", name), path.join(target, name));
    for (const [file, text] of Object.entries(extra)) {
      await writeFile(path.join(target, "migrations", file), text);
    }
    return path.join(target, "migrate.ts");
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

  async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 10_000;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`waited 10 s for: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async function dump(): Promise<string> {
    const client = new pg.Client({ connectionString: empty.url });
    await client.connect();
    try {
      return await dumpSchema(client);
    } finally {
      await client.end();
    }
  }

  const fileNames = async () =>
    (await readdir(path.join(ROOT, "db/migrations"))).map((file) => path.parse(file).name).sort();

  it("applies every migration once, and nothing the second time", async () => {
    expect(await migrateToLatest(empty.url)).to.deep.equal(await fileNames());
    expect(await migrateToLatest(empty.url)).to.deep.equal([]);
    expect(await migrationStatus(empty.url)).to.deep.equal({ applied: await fileNames(), pending: [] });
  });

  it("goes down to nothing and up again to the same schema", async () => {
    await migrateToLatest(empty.url);
    const full = await dump();
    expect(await rollback(empty.url, { all: true })).to.deep.equal((await fileNames()).reverse());
    expect(await dump()).to.match(EMPTY_DUMP);
    await migrateToLatest(empty.url);
    expect(await dump()).to.equal(full);
  });

  it("goes down with data in every corner", async () => {
    await migrateToLatest(empty.url);
    await query(`
      insert into users (id, email, username, password_hash) values (gen_random_uuid(), 'a@b.c', 'a', 'x');
      insert into tracks (artist_id, title, title_key, loose_key) select id, 't', 't', 't' from artists;
      insert into listening_history (user_id, track_id, artist_id, played_at, start_earliest, start_latest,
          precision, source, counted, source_key)
        select u.id, t.id, t.artist_id, now(), now(), now(), 'second', 'manual', true, decode(repeat('ab', 16), 'hex')
          from users u, tracks t`);
    await rollback(empty.url, { all: true });
    expect(await dump()).to.match(EMPTY_DUMP);
  });

  it("lets three processes migrate at once, and one of them does it all", async () => {
    const runs = await Promise.all([1, 2, 3].map(() => command(SOURCE, [])));
    expect(runs.map(({ code }) => code)).to.deep.equal([0, 0, 0]);
    const applied = runs.flatMap(({ out }) => out.match(/^applied .*$/gm) ?? []);
    expect(applied).to.have.lengthOf((await fileNames()).length);
    expect(runs.filter(({ out }) => out.includes("already up to date"))).to.have.lengthOf(2);
  });

  it("waits no longer than it was told to, and says for what", async () => {
    const holder = new pg.Client({ connectionString: empty.url });
    await holder.connect();
    await holder.query("select pg_advisory_lock(7305521)");
    let waited = 0;
    const begun = Date.now();
    const outcome = await migrateToLatest(empty.url, { waitMs: 300, onWait: () => waited++ }).catch(
      (error: unknown) => error,
    );
    expect(outcome).to.be.instanceOf(Error).with.property("code", "55P03");
    expect(Date.now() - begun).to.be.within(300, 5000);
    expect(waited).to.equal(1);
    await holder.end();
    expect(await migrateToLatest(empty.url)).to.have.lengthOf((await fileNames()).length);
  });

  it("survives SIGKILL in the middle of a migration: nothing of it stays, and the next run completes", async () => {
    const slow = await withMigrations("slow", {
      "29990101000000_wait_long.ts": `
        export const up = (knex) => knex.raw("create table half_way (); select pg_sleep(60)");
        export const down = (knex) => knex.raw("drop table half_way");`,
    });
    const child = start(slow, [], { DATABASE_URL: empty.url });
    const sleeping = `select from pg_stat_activity
      where datname = current_database() and query like '%pg_sleep(60)%' and pid <> pg_backend_pid()`;
    await until("the migration to sleep", async () => (await query(sleeping)).length === 1);
    child.kill("SIGKILL");

    const begun = Date.now();
    expect(await migrateToLatest(empty.url)).to.deep.equal(await fileNames());
    // The server looks for its client once a second; the statement would have slept for a minute.
    expect(Date.now() - begun).to.be.below(10_000);
    expect(await query("select to_regclass('half_way') as found")).to.deep.equal([{ found: null }]);
  });

  it("clears the mark that a killed process leaves in knex's own lock", async () => {
    await migrateToLatest(empty.url);
    await query("update knex_migrations_lock set is_locked = 1");
    expect(await rollback(empty.url, { all: true })).to.have.lengthOf((await fileNames()).length);
    await query("update knex_migrations_lock set is_locked = 1");
    expect(await migrateToLatest(empty.url)).to.have.lengthOf((await fileNames()).length);
  });

  it("applies all or nothing", async () => {
    const broken = await withMigrations("broken", {
      "29990101000000_break.ts": `
        export const up = (knex) => knex.raw("create table t (); select 1 / 0");
        export const down = () => Promise.resolve();`,
    });
    const { code, err } = await command(broken, []);
    expect(code).to.equal(1);
    expect(err).to.include("migration failed").and.include("division by zero");
    expect(await dump()).to.match(EMPTY_DUMP);
  });

  it("records the same names from source and from the build", async () => {
    const ts = (await import("typescript")).default;
    const build = path.join(folder, "build");
    await mkdir(path.join(build, "migrations"), { recursive: true });
    const files = [...SOURCES, ...(await fileNames()).map((name) => `migrations/${name}.ts`)];
    for (const file of files) {
      const source = await readFile(path.join(ROOT, "db", file), "utf8");
      const { outputText } = ts.transpileModule(source, {
        compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
      });
      const target = path.join(build, file.replace(/\.ts$/, ".js"));
      await writeFile(target, outputText);
      await writeFile(`${target}.map`, "{}"); // as a build leaves them beside the code
    }
    const built = path.join(build, "migrate.js");
    expect(await command(built, [])).to.include({ code: 0, err: "" });
    expect(await migrateToLatest(empty.url)).to.deep.equal([]);
    expect((await command(built, ["status"])).out).to.equal(
      (await fileNames()).map((name) => `applied  ${name}\n`).join(""),
    );
    expect((await command(built, ["rollback", "--all"])).code).to.equal(0);
    expect((await migrationStatus(empty.url)).applied).to.deep.equal([]);
  });

  it("refuses what it does not understand, and a missing address", async () => {
    expect(await command(SOURCE, ["sideways"])).to.include({ code: 2 });
    expect(await command(SOURCE, ["latest", "--all"])).to.include({ code: 2 });
    expect(await command(SOURCE, [], {})).to.include({ code: 2, err: "DATABASE_URL is required\n" });
  });
});
