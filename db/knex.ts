/**
 * The connections of one process to one database: knex for Objection, a pg.Pool for COPY and named hot reads,
 * both from one configuration. Each has its own `max`, so a process holds at most twice that many.
 */
import { knexSnakeCaseMappers } from "objection";
import knex from "knex";
import type { Knex } from "knex";
import pg from "pg";
import type { Submittable } from "pg";
import type { Config } from "../config.js";

export interface Database {
  /** camelCase in code, snake_case in SQL. Inside `transaction(trx)` use `trx` alone: a second connection can deadlock on a full pool. */
  readonly knex: Knex;
  readonly pool: pg.Pool;
  readonly limits: { readonly min: number; readonly max: number };
  /** Waits for the connections in use, then closes all. May be called twice. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** Shown in pg_stat_activity; at most 63 bytes. */
  readonly applicationName: string;
  /** In place of the configured limit: an import may take longer than a request. */
  readonly statementTimeoutMs?: number;
  readonly poolMax?: number;
}

export interface PoolCounts {
  readonly min: number;
  readonly max: number;
  readonly used: number;
  readonly free: number;
  /** Callers that wait for a connection. */
  readonly pending: number;
}

/** How long past statement_timeout the client waits before it takes the server for dead. */
const ANSWER_GRACE_MS = 1000;
/** How long past the time to connect a caller waits for a free connection of knex. */
const ACQUIRE_GRACE_MS = 500;
const IDLE_TIMEOUT_MS = 30_000;
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000;

/** Opens nothing yet: the first query connects. */
export function createDatabase(settings: Config["database"], options: DatabaseOptions): Database {
  const max = options.poolMax ?? settings.poolMax;
  const limits = { min: Math.min(settings.poolMin, max), max };
  const connection = connectionOf(settings, options);
  const knexInstance = openKnex(connection, limits, settings.connectTimeoutMs + ACQUIRE_GRACE_MS);
  const pool = openPool(connection, limits);
  let closing: Promise<void> | undefined;
  return {
    knex: knexInstance,
    pool,
    limits,
    close: () => (closing ??= Promise.all([knexInstance.destroy(), pool.end()]).then(() => undefined)),
  };
}

type Connection = ReturnType<typeof connectionOf>;

function connectionOf(settings: Config["database"], options: DatabaseOptions) {
  const statementTimeoutMs = options.statementTimeoutMs ?? settings.statementTimeoutMs;
  return {
    connectionString: settings.url,
    application_name: options.applicationName,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + ANSWER_GRACE_MS,
    lock_timeout: Math.min(settings.lockTimeoutMs, statementTimeoutMs),
    idle_in_transaction_session_timeout: Math.max(IDLE_IN_TRANSACTION_TIMEOUT_MS, statementTimeoutMs),
    keepAlive: true,
    types: { getTypeParser },
  };
}

function openKnex(connection: Connection, limits: Database["limits"], acquireTimeoutMs: number): Knex {
  const instance = knex({
    client: "pg",
    connection: { ...connection } as Knex.PgConnectionConfig, // knex types fewer settings than pg has
    pool: { ...limits, idleTimeoutMillis: IDLE_TIMEOUT_MS },
    acquireConnectionTimeout: acquireTimeoutMs,
    compileSqlOnError: false, // else every message quotes the statement with its values
    log: silent, // every failure reaches its caller, and is logged once where it is handled
    ...knexSnakeCaseMappers(),
  });
  // knex asks its driver for one class only, and connects at the first query at the earliest.
  const client = instance.client as Knex.Client;
  client.driver = { Client: DatabaseClient };
  return instance;
}

const silent = { warn() {}, error() {}, deprecate() {}, debug() {} };

function openPool(connection: Connection, limits: Database["limits"]): pg.Pool {
  const pool = new pg.Pool({
    ...connection,
    ...limits,
    idleTimeoutMillis: IDLE_TIMEOUT_MS,
    Client: DatabaseClient,
  });
  // A connection that dies while idle is reported here, one that dies while checked out on the client itself.
  // Unheard, either would end the process; heard, the next query says what is wrong.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/**
 * Drops the connection after pg's `Query read timeout`. pg itself leaves it open with the old query still
 * pending, knex would put it back into its pool, and every query after it would hang as well.
 */
class DatabaseClient extends pg.Client {
  override query(...args: readonly unknown[]): never {
    const [first, ...rest] = args;
    const last = rest.at(-1);
    if (isSubmittable(first)) {
      const callback = first.callback?.bind(first);
      first.callback = (error, result) => {
        this.#dropIfUnanswered(error);
        callback?.(error, result);
      };
    } else if (typeof last === "function") {
      rest[rest.length - 1] = (error: unknown, result: unknown) => {
        this.#dropIfUnanswered(error);
        (last as QueryCallback)(error, result);
      };
    }
    const answer: unknown = (super.query as (...args: unknown[]) => unknown).call(this, first, ...rest);
    if (answer instanceof Promise) answer.catch((error: unknown) => this.#dropIfUnanswered(error));
    // pg types eight overloads of `query`; all of them are passed through unchanged.
    return answer as never;
  }

  #dropIfUnanswered(error: unknown): void {
    if (!(error instanceof Error) || error.message !== "Query read timeout") return;
    const internals = this as unknown as DriverInternals;
    internals.__knex__disposed = error; // read by knex when it next considers this connection
    internals._queryable = false; // read by pg-pool when the client comes back
    internals.connection.stream.destroy();
  }
}

type QueryCallback = (error: unknown, result?: unknown) => void;

interface DriverInternals {
  __knex__disposed?: Error;
  _queryable: boolean;
  readonly connection: { readonly stream: { destroy(): void } };
}

function isSubmittable(value: unknown): value is Submittable & { callback?: QueryCallback } {
  return (
    typeof value === "object" && value !== null && "submit" in value && typeof value.submit === "function"
  );
}

const OID = { int8: 20, date: 1082, int8Array: 1016 } as const;

/** Ids and counts are numbers here and in the API. A wrong number would be worse than none. */
function toSafeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint ${text} is outside the safe integers`);
  return value;
}

function toSafeNumbers(text: string): (number | null)[] {
  if (text === "{}") return [];
  return text
    .slice(1, -1)
    .split(",")
    .map((item) => (item === "NULL" ? null : toSafeNumber(item)));
}

const ownParsers = new Map<number, (text: string) => unknown>([
  [OID.int8, toSafeNumber],
  [OID.int8Array, toSafeNumbers],
  [OID.date, (text) => text], // a calendar day; a Date would move it by the local time zone
]);

const getTypeParser = ((oid: number, format?: "text" | "binary"): unknown =>
  (format === "binary" ? undefined : ownParsers.get(oid)) ??
  pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser;

/** The pool knex makes for itself; its own types also allow one given from outside, which counts differently. */
type TarnCounts = Record<"numUsed" | "numFree" | "numPendingAcquires", () => number>;

/** Both pools for /health/db; asks no server. */
export function poolStatus(database: Database): { readonly knex: PoolCounts; readonly pool: PoolCounts } {
  const { limits, pool } = database;
  const tarn = (database.knex.client as Knex.Client).pool as TarnCounts | undefined;
  return {
    knex: {
      ...limits,
      used: tarn?.numUsed() ?? 0,
      free: tarn?.numFree() ?? 0,
      pending: tarn?.numPendingAcquires() ?? 0,
    },
    pool: {
      ...limits,
      used: pool.totalCount - pool.idleCount,
      free: pool.idleCount,
      pending: pool.waitingCount,
    },
  };
}
