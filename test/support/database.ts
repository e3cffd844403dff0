/**
 * One database per test file, copied from a migrated template. The server is DATABASE_URL, whose user must be
 * allowed to create databases.
 */
import { createHash, randomBytes } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import pg from "pg";
import type { Config } from "../../config.js";
import { createDatabase } from "../../db/knex.js";
import type { Database } from "../../db/knex.js";
import { migrateToLatest } from "../../db/migrate.js";

export interface TestDatabase {
  readonly url: string;
  readonly database: Database;
  /** Closes `database`, then drops what is behind it, whoever else is still connected. */
  drop(): Promise<void>;
}

const TEMPLATE_LOCK = 7_305_522;

/** Settings as `loadConfig` would give them, for a database of a test. */
export function databaseSettings(url: string): Config["database"] {
  return {
    url,
    poolMin: 0,
    poolMax: 5,
    connectTimeoutMs: 5000,
    statementTimeoutMs: 60_000,
    lockTimeoutMs: 20_000,
    idleTimeoutMs: 30_000,
    idleTransactionTimeoutMs: 10_000,
  };
}

/** Call it inside a hook or a test: the address of the server is not known before. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const template = await (templateName ??= makeTemplate());
  const { url, drop } = await createDatabaseFrom(template);
  const database = createDatabase(databaseSettings(url), { applicationName: "playlog-test" });
  return {
    url,
    database,
    drop: async () => {
      await database.close();
      await drop();
    },
  };
}

/** A database with nothing in it, for tests of the migrations themselves. */
export async function createEmptyDatabase(): Promise<Pick<TestDatabase, "url" | "drop">> {
  return createDatabaseFrom("template0");
}

async function createDatabaseFrom(template: string): Promise<Pick<TestDatabase, "url" | "drop">> {
  const name = `playlog_test_${randomBytes(6).toString("hex")}`;
  await asAdmin((admin) => admin.query(`create database ${name} template ${template}`));
  return {
    url: urlOf(name),
    drop: () =>
      asAdmin((admin) => admin.query(`drop database if exists ${name} with (force)`)).then(() => {}),
  };
}

let templateName: Promise<string> | undefined;

/** Named by the migrations' text, so a template is never stale; several runs on one server share it. */
async function makeTemplate(): Promise<string> {
  const folder = path.join(import.meta.dirname, "../../db/migrations");
  const hash = createHash("sha256");
  for (const file of (await readdir(folder)).sort())
    hash.update(file).update(await readFile(path.join(folder, file)));
  const name = `playlog_template_${hash.digest("hex").slice(0, 16)}`;
  await asAdmin(async (admin) => {
    await admin.query("select pg_advisory_lock($1)", [TEMPLATE_LOCK]);
    const found = await admin.query<{ finished: boolean }>(
      "select datistemplate as finished from pg_database where datname = $1",
      [name],
    );
    if (found.rows[0]?.finished === true) return;
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin.query(`create database ${name} template template0`);
    await migrateToLatest(urlOf(name));
    await admin.query(`alter database ${name} with is_template true allow_connections false`);
  });
  return name;
}

async function asAdmin<T>(work: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = new pg.Client({ connectionString: serverUrl(), application_name: "playlog-test-admin" });
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}

function serverUrl(): string {
  const url = process.env["DATABASE_URL"];
  if (url === undefined || url === "")
    throw new Error("DATABASE_URL is not set: run the tests with `npm test`");
  return url;
}

function urlOf(database: string): string {
  const url = new URL(serverUrl());
  url.pathname = `/${database}`;
  return url.href;
}
