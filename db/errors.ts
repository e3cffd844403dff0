/** What an error of the database means for the caller. The one place that knows SQLSTATE codes and driver messages. */
import { UnavailableError } from "../utils/errors.js";

/** Seconds a client is asked to wait: a restart of the server, or a pool that empties by itself. */
const RETRY_AFTER_SECONDS = { database: 5, busy: 1 } as const;

/** The server refuses, is going down or has no room. Classes by two characters, single codes by five. */
const UNAVAILABLE_CLASSES = new Set(["08", "28", "53", "57", "58"]);
const UNAVAILABLE_CODES = new Set([
  "25006", // read only: a primary that became a standby
  "25P03", // idle in transaction for too long
  "3D000", // the database is not there (yet)
  "55P03", // lock timeout
  "XX000", // internal error: nothing the caller sent wrong
]);

const NETWORK_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "EHOSTDOWN",
  "ENETUNREACH",
  "ENETDOWN",
  "ENOTFOUND",
  "EAI_AGAIN",
]);

/** Driver errors without a code: texts of pg 8, pg-pool 3 and knex 3, which puts the statement and ` - ` before pg's. */
const CONNECTION_LOST =
  /(?:^| - )(?:Connection terminated|Client has encountered a connection error|Client was closed|Query read timeout|timeout expired|The server does not support SSL)/;
const POOL_EXHAUSTED = /^(?:timeout exceeded when trying to connect|Knex: Timeout acquiring a connection)/;

/** Serialization failure, deadlock: the same transaction succeeds when it is run again from its start. */
const CONFLICT_CODES = new Set(["40001", "40P01"]);

const DISK_FULL = "53100";
/** By the statement timeout as a rule. */
const CANCELED = "57014";

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** The error and what it wraps: `cause`, Objection's `nativeError`, and the members of an AggregateError. */
function* chain(error: unknown, depth = 0): Generator<Error & { code?: unknown }> {
  if (!(error instanceof Error) || depth > 5) return;
  yield error;
  if ("nativeError" in error) yield* chain(error.nativeError, depth + 1);
  yield* chain(error.cause, depth + 1);
  if (error instanceof AggregateError) for (const inner of error.errors) yield* chain(inner, depth + 1);
}

/** SQLSTATE of an error of the server, however it is wrapped; null for errors of other origin. */
export function sqlState(error: unknown): string | null {
  for (const { code } of chain(error)) {
    if (typeof code === "string" && SQLSTATE.test(code) && !NETWORK_CODES.has(code)) return code;
  }
  return null;
}

/** Name of the constraint that the server says was broken; null when it names none. */
export function brokenConstraint(error: unknown): string | null {
  for (const link of chain(error)) {
    if ("constraint" in link && typeof link.constraint === "string") return link.constraint;
  }
  return null;
}

/**
 * `busy`: too much at once; every connection of the pool is in use, or the transaction lost against another one.
 * `database`: no server, no longer connected, or no answer in time. null: the error is about the statement.
 */
export function unavailability(error: unknown): keyof typeof RETRY_AFTER_SECONDS | null {
  const code = sqlState(error);
  if (code !== null) {
    if (CONFLICT_CODES.has(code)) return "busy";
    return UNAVAILABLE_CLASSES.has(code.slice(0, 2)) || UNAVAILABLE_CODES.has(code) ? "database" : null;
  }
  for (const link of chain(error)) {
    if (POOL_EXHAUSTED.test(link.message)) return "busy";
    if (typeof link.code === "string" && NETWORK_CODES.has(link.code)) return "database";
    if (CONNECTION_LOST.test(link.message)) return "database";
  }
  return null;
}

/**
 * What somebody who can wait is waiting for: room on the server's disk, or the server itself. null: the error is about
 * the statement, or about what it met, and to wait for long would not help.
 */
export function databaseOutage(error: unknown): "storage_full" | "database" | null {
  const code = sqlState(error);
  if (code === DISK_FULL) return "storage_full";
  if (code !== null && (CONFLICT_CODES.has(code) || code === CANCELED)) return null;
  return unavailability(error) === null ? null : "database";
}

/** The 503 that stands for `error`, with `error` as its cause; any other error comes back as it was. */
export function toAppError(error: unknown): unknown {
  const reason = error instanceof UnavailableError ? null : unavailability(error);
  if (reason === null) return error;
  const message = `The database ${reason === "busy" ? "is busy" : "does not answer"} at the moment`;
  return new UnavailableError(reason, message, RETRY_AFTER_SECONDS[reason], { cause: error });
}
