/** One transaction on one connection, run again as a whole where that can help. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Pool, PoolClient } from "pg";
import { brokenConstraint, sqlState } from "../../../db/errors.js";
import { runTransaction, type TransactionForm } from "../../../db/transaction.js";

/** Lost against another transaction; the same work succeeds on another try: conflict, deadlock, lock timeout. */
const LOST = new Set(["40001", "40P01", "55P03"]);
const TRIES = 6;
const PLAIN: TransactionForm = { begin: "begin", end: "commit" };

/**
 * Runs `work` between BEGIN and COMMIT. A transaction that lost against another is run again from its start;
 * every other error is thrown after ROLLBACK. After an error of the connection the connection is closed, and whether
 * a COMMIT took place is unknown: callers make themselves repeatable.
 */
export async function inTransaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
  tries = TRIES,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await runTransaction(pool, PLAIN, work);
    } catch (error) {
      if (attempt >= tries || !LOST.has(sqlState(error) ?? "")) throw error;
      await sleep(20 * 2 ** attempt * (0.5 + Math.random()));
    }
  }
}

/** What the database objects to, for errors that running again does not heal. */
export type Refusal = "value" | "owner" | "catalogue" | null;

/**
 * `value`: it refuses a row for what is in it. `owner`: account or job are gone. `catalogue`: a track or album
 * that was there a moment ago is gone. null: something else.
 */
export function refusalOf(error: unknown): Refusal {
  const state = sqlState(error);
  if (state === null) return null;
  if (state.startsWith("22") || state === "23514" || state === "23502" || state === "54000") return "value";
  if (state !== "23503") return null;
  const constraint = brokenConstraint(error) ?? "";
  return constraint === "plays_track" || constraint === "plays_album" ? "catalogue" : "owner";
}

/**
 * Finds the items that make `attempt` fail with a refused value, by halving. `attempt` must be repeatable and is
 * given ever smaller runs; any other error of it is thrown.
 */
export async function isolateRefused<T>(
  items: readonly T[],
  attempt: (run: readonly T[]) => Promise<void>,
): Promise<Map<T, unknown>> {
  const refused = new Map<T, unknown>();
  const visit = async (run: readonly T[]): Promise<void> => {
    try {
      await attempt(run);
    } catch (error) {
      if (refusalOf(error) !== "value") throw error;
      const [only] = run;
      if (run.length === 1 && only !== undefined) {
        refused.set(only, error);
        return;
      }
      const middle = Math.ceil(run.length / 2);
      await visit(run.slice(0, middle));
      await visit(run.slice(middle));
    }
  };
  if (items.length > 0) await visit(items);
  return refused;
}

/** The server's complaint without values: its messages may quote what somebody listened to. */
export function complaintOf(error: unknown): string {
  const reasons = [sqlState(error), brokenConstraint(error)].filter((reason) => reason !== null);
  return `The database refused the record (${reasons.join(", ")})`;
}
