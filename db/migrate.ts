/**
 * Brings a database to the newest schema, from any number of processes at once.
 *
 *   node --import tsx db/migrate.ts [latest | status | rollback [--all]]     (or node dist/db/migrate.js)
 */
import { readdir, realpath } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import knex from "knex";
import type { Knex } from "knex";
import type { Client } from "pg";
import { ADVISORY_LOCKS } from "./advisoryLocks.js";

/** How long a migration may wait for a table that somebody uses, before it gives up and changes nothing. */
const TABLE_LOCK_TIMEOUT_MS = 5000;

export interface MigrateOptions {
  /** How long to wait while another process migrates; then the error of the server, SQLSTATE 55P03. */
  readonly waitMs?: number;
  /** Called once when another process holds the lock. */
  readonly onWait?: () => void;
}

export interface MigrationStatus {
  readonly applied: readonly string[];
  readonly pending: readonly string[];
}

/** Applies what is missing, all or nothing, and returns the names of what it applied. */
export async function migrateToLatest(databaseUrl: string, options: MigrateOptions = {}): Promise<string[]> {
  return alone(databaseUrl, options, async (db) => {
    const [, names] = (await db.migrate.latest()) as [number, string[]];
    return names;
  });
}

/** Undoes the last batch, or everything; returns the names of what it undid, newest first. */
export async function rollback(
  databaseUrl: string,
  options: MigrateOptions & { readonly all?: boolean } = {},
): Promise<string[]> {
  return alone(databaseUrl, options, async (db) => {
    const [, names] = (await db.migrate.rollback(undefined, options.all ?? false)) as [number, string[]];
    return names;
  });
}

export async function migrationStatus(
  databaseUrl: string,
  options: MigrateOptions = {},
): Promise<MigrationStatus> {
  return alone(databaseUrl, options, async (db) => {
    const [applied, pending] = (await db.migrate.list()) as [{ name: string }[], MigrationFile[]];
    return { applied: applied.map(({ name }) => name), pending: pending.map(({ name }) => name) };
  });
}

/**
 * Runs `work` on the one connection that holds the advisory lock. One connection, so that a process killed in
 * the middle keeps the lock exactly as long as its last statement still runs on the server.
 */
async function alone<T>(
  databaseUrl: string,
  { waitMs = 60_000, onWait }: MigrateOptions,
  work: (db: Knex) => Promise<T>,
): Promise<T> {
  const db = knex({
    client: "pg",
    connection: {
      connectionString: databaseUrl,
      application_name: "playlog-migrate",
      connectionTimeoutMillis: 5000,
      keepAlive: true,
    },
    pool: {
      min: 1,
      max: 1,
      createTimeoutMillis: waitMs + 10_000,
      afterCreate: (client: Client, done: (error: Error | null) => void) => {
        takeLock(client, waitMs, onWait).then(
          () => done(null),
          (error: unknown) => void client.end().finally(() => done(error as Error)),
        );
      },
    },
    acquireConnectionTimeout: waitMs + 10_000,
    log: { warn() {}, error() {}, deprecate() {}, debug() {} },
    migrations: { migrationSource },
  });
  try {
    await releaseStaleLock(db);
    return await work(db);
  } finally {
    await db.destroy();
  }
}

async function takeLock(client: Client, waitMs: number, onWait: (() => void) | undefined): Promise<void> {
  // Lets the server notice within a second that we were killed, also in the middle of a long statement.
  await client.query("set client_connection_check_interval = '1s'");
  await client.query("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0");
  const attempt = await client.query<{ taken: boolean }>("select pg_try_advisory_lock($1) as taken", [
    ADVISORY_LOCKS.migrate,
  ]);
  if (attempt.rows[0]?.taken !== true) {
    onWait?.();
    await client.query(`set lock_timeout = ${Math.max(1, Math.trunc(waitMs))}`);
    await client.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.migrate]);
  }
  await client.query(`set lock_timeout = ${TABLE_LOCK_TIMEOUT_MS}`);
}

/** knex marks its own lock in a table, and a process that dies leaves the mark. Whoever holds our lock knows it is stale. */
async function releaseStaleLock(db: Knex): Promise<void> {
  if (!(await db.schema.hasTable("knex_migrations_lock"))) return;
  const marked = (await db("knex_migrations_lock").where({ is_locked: 1 })) as unknown[];
  if (marked.length > 0) await db.migrate.forceFreeMigrationsLock();
}

interface MigrationFile {
  readonly name: string;
  readonly file: string;
}

const MIGRATIONS = path.join(path.dirname(fileURLToPath(import.meta.url)), "migrations");

/** Names carry no extension, so that source (.ts) and build (.js) record the same history. */
const migrationSource: Knex.MigrationSource<MigrationFile> = {
  async getMigrations() {
    const files = (await readdir(MIGRATIONS)).sort();
    return files.flatMap((file) => {
      const name = /^(\d{14}_\w+)\.(?:ts|js)$/.exec(file)?.[1];
      return name === undefined ? [] : [{ name, file }];
    });
  },
  getMigrationName: ({ name }) => name,
  getMigration: async ({ file }) =>
    (await import(pathToFileURL(path.join(MIGRATIONS, file)).href)) as Knex.Migration,
};

async function main(args: readonly string[], databaseUrl: string | undefined): Promise<number> {
  const [command = "latest", ...flags] = args;
  const all = flags.length === 1 && flags[0] === "--all";
  if (
    !["latest", "status", "rollback"].includes(command) ||
    (flags.length > 0 && !(command === "rollback" && all))
  ) {
    console.error("usage: migrate [latest | status | rollback [--all]]");
    return 2;
  }
  if (databaseUrl === undefined || databaseUrl === "") {
    console.error("DATABASE_URL is required");
    return 2;
  }
  const onWait = () => console.error("another process is migrating; waiting for it");
  if (command === "status") {
    const { applied, pending } = await migrationStatus(databaseUrl, { onWait });
    for (const name of applied) console.log(`applied  ${name}`);
    for (const name of pending) console.log(`pending  ${name}`);
  } else if (command === "rollback") {
    const names = await rollback(databaseUrl, { all, onWait });
    for (const name of names) console.log(`undone   ${name}`);
    if (names.length === 0) console.log("nothing to undo");
  } else {
    const names = await migrateToLatest(databaseUrl, { onWait });
    for (const name of names) console.log(`applied  ${name}`);
    if (names.length === 0) console.log("already up to date");
  }
  return 0;
}

const script = process.argv[1];
if (script !== undefined && (await realpath(script).catch(() => "")) === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main(process.argv.slice(2), process.env["DATABASE_URL"]);
  } catch (error) {
    console.error(`migration failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
