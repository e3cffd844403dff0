/**
 * The connections of one process to one database: knex for Objection, a pg.Pool for COPY and named hot reads, and
 * another for a replica where there is one, all from one configuration. Each has its own `max`.
 */
import { knexSnakeCaseMappers } from "objection";
import knex from "knex";
import type { Knex } from "knex";
import pg from "pg";
import type { Submittable } from "pg";
import type { Config } from "../config.js";
import type { ReplicaConnections } from "./replica.js";
import { ReplicaWatch } from "./replicaWatch.js";
import { Statements } from "./statements.js";

export interface Database {
  /** camelCase in code, snake_case in SQL. Inside `transaction(trx)` use `trx` alone: a second connection can deadlock on a full pool. */
  readonly knex: Knex;
  readonly pool: pg.Pool;
  /** With DATABASE_REPLICA_URL; which reads may use it is decided in db/replica.ts. */
  readonly replica?: ReplicaConnections;
  readonly limits: { readonly min: number; readonly max: number };
  /** Of all pools, for logs and metrics. */
  readonly statements: Statements;
  /** Waits for the connections in use, then closes all. May be called twice. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** Shown in pg_stat_activity; at most 63 bytes. */
  readonly applicationName: string;
  /** In place of the configured limit: an import may take longer than a request. */
  readonly statementTimeoutMs?: number;
  /** In place of the configured one: an import may wait longer than a request. */
  readonly connectTimeoutMs?: number;
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
/** A replica that takes longer is not worth waiting for: the primary has the same. */
const REPLICA_CONNECT_TIMEOUT_MS = 500;
const REPLICA_STATEMENT_TIMEOUT_MS = 1500;

/** Opens nothing yet: the first query connects. */
export function createDatabase(settings: Config["database"], options: DatabaseOptions): Database {
  const max = options.poolMax ?? settings.poolMax;
  const limits = { min: Math.min(settings.poolMin, max), max };
  const connection = connectionOf(settings, options);
  const statements = new Statements();
  const Client = clientOf(statements);
  const knexInstance = openKnex(connection, limits, settings.idleTimeoutMs, Client);
  const pool = openPool(connection, limits, settings.idleTimeoutMs, Client);
  const replica = openReplica(settings, options, limits, Client);
  let closing: Promise<unknown> | undefined;
  return {
    knex: knexInstance,
    pool,
    ...(replica === undefined ? {} : { replica }),
    limits,
    statements,
    close: async () => {
      closing ??= Promise.all([
        knexInstance.destroy(),
        pool.end(),
        replica?.pool.end(),
        replica?.watch.close(),
      ]);
      await closing;
    },
  };
}

type Connection = ReturnType<typeof connectionOf>;

function connectionOf(settings: Config["database"], options: DatabaseOptions) {
  const statementTimeoutMs = options.statementTimeoutMs ?? settings.statementTimeoutMs;
  return {
    connectionString: settings.url,
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs ?? settings.connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + ANSWER_GRACE_MS,
    lock_timeout: Math.min(settings.lockTimeoutMs, statementTimeoutMs),
    // Between two statements of a transaction the process may well wait for its other connection.
    idle_in_transaction_session_timeout: Math.max(settings.idleTransactionTimeoutMs, statementTimeoutMs),
    keepAlive: true,
    types: { getTypeParser },
  };
}

function openReplica(
  settings: Config["database"],
  options: DatabaseOptions,
  limits: Database["limits"],
  Client: typeof DatabaseClient,
): ReplicaConnections | undefined {
  if (settings.replica === undefined) return undefined;
  const { url, maxLagMs } = settings.replica;
  const connection = {
    ...connectionOf(settings, {
      applicationName: options.applicationName,
      statementTimeoutMs: Math.min(REPLICA_STATEMENT_TIMEOUT_MS, settings.statementTimeoutMs),
      connectTimeoutMs: Math.min(REPLICA_CONNECT_TIMEOUT_MS, settings.connectTimeoutMs),
    }),
    connectionString: url,
    // Whatever the address leads to, nothing is written there.
    options: "-c default_transaction_read_only=on",
  };
  return {
    pool: openPool(connection, limits, settings.idleTimeoutMs, Client),
    watch: new ReplicaWatch({ primaryUrl: settings.url, replicaUrl: url }),
    maxLagMs,
  };
}

function openKnex(
  connection: Connection,
  limits: Database["limits"],
  idleTimeoutMs: number,
  Client: typeof DatabaseClient,
): Knex {
  const instance = knex({
    client: "pg",
    connection: { ...connection } as Knex.PgConnectionConfig, // knex types fewer settings than pg has
    pool: { ...limits, idleTimeoutMillis: idleTimeoutMs },
    acquireConnectionTimeout: connection.connectionTimeoutMillis + ACQUIRE_GRACE_MS,
    compileSqlOnError: false, // else every message quotes the statement with its values
    log: silent, // every failure reaches its caller, and is logged once where it is handled
    ...knexSnakeCaseMappers(),
  });
  // knex asks its driver for one class only, and connects at the first query at the earliest.
  const client = instance.client as Knex.Client;
  client.driver = { Client };
  return instance;
}

const silent = { warn() {}, error() {}, deprecate() {}, debug() {} };

function openPool(
  connection: Connection,
  limits: Database["limits"],
  idleTimeoutMs: number,
  Client: typeof DatabaseClient,
): pg.Pool {
  const pool = new pg.Pool({
    ...connection,
    ...limits,
    idleTimeoutMillis: idleTimeoutMs,
    Client,
  });
  // A connection that dies while idle is reported here, one that dies while checked out on the client itself.
  // Unheard, either would end the process; heard, the next query says what is wrong.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/** The pools make their clients themselves, so what these need to know stands in their class. */
const clientOf = (statements: Statements): typeof DatabaseClient =>
  class extends DatabaseClient {
    protected override readonly statements = statements;
  };

/**
 * Drops the connection after pg's `Query read timeout`. pg itself leaves it open with the old query still
 * pending, knex would put it back into its pool, and every query after it would hang as well.
 */
class DatabaseClient extends pg.Client {
  protected readonly statements: Statements | undefined;

  override query(...args: readonly unknown[]): never {
    const [first, ...rest] = args;
    const last = rest.at(-1);
    const ended = this.statements?.began(first);
    if (isSubmittable(first)) {
      const callback = first.callback?.bind(first);
      first.callback = (error, result) => {
        this.#dropIfUnanswered(error);
        ended?.(error, result);
        callback?.(error, result);
      };
    } else if (typeof last === "function") {
      rest[rest.length - 1] = (error: unknown, result: unknown) => {
        this.#dropIfUnanswered(error);
        ended?.(error, result);
        (last as QueryCallback)(error, result);
      };
    }
    const answer: unknown = (super.query as (...args: unknown[]) => unknown).call(this, first, ...rest);
    if (answer instanceof Promise) {
      answer.then(
        (result: unknown) => ended?.(null, result),
        (error: unknown) => {
          this.#dropIfUnanswered(error);
          ended?.(error);
        },
      );
    }
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

export interface PoolStatus {
  readonly knex: PoolCounts;
  readonly pool: PoolCounts;
  readonly replica?: PoolCounts;
}

/** All pools for /health/db; asks no server. */
export function poolStatus(database: Database): PoolStatus {
  const { limits, pool, replica } = database;
  const tarn = (database.knex.client as Knex.Client).pool as TarnCounts | undefined;
  return {
    knex: {
      ...limits,
      used: tarn?.numUsed() ?? 0,
      free: tarn?.numFree() ?? 0,
      pending: tarn?.numPendingAcquires() ?? 0,
    },
    pool: { ...limits, ...countsOf(pool) },
    ...(replica === undefined ? {} : { replica: { ...limits, ...countsOf(replica.pool) } }),
  };
}

const countsOf = (pool: pg.Pool) => ({
  used: pool.totalCount - pool.idleCount,
  free: pool.idleCount,
  pending: pool.waitingCount,
});
