/** A transaction on a connection of a pool, whatever kind of transaction it is, and run again as a whole where that can help. */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { sqlState } from "./errors.js";

export interface TransactionForm {
  /** The statement that begins it, settings of its own included. */
  readonly begin: string;
  /** How it ends when `work` succeeds; a failure always rolls back. */
  readonly end: "commit" | "rollback";
}

/** Runs `work` in one; throws what it throws. A connection that cannot even be rolled back is closed. */
export async function runTransaction<T>(
  pool: pg.Pool,
  form: TransactionForm,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    return await transactionOn(client, form, work, (error) => (broken = error));
  } finally {
    client.release(broken);
  }
}

async function transactionOn<T>(
  client: pg.PoolClient,
  { begin, end }: TransactionForm,
  work: (client: pg.PoolClient) => Promise<T>,
  onBroken: (error: Error) => void,
): Promise<T> {
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query(end);
    return result;
  } catch (error) {
    await client.query("rollback").catch((cause: unknown) => {
      onBroken(cause instanceof Error ? cause : new Error("rollback failed", { cause }));
    });
    throw error;
  }
}

/** Lost against another transaction; the same work succeeds on another try: conflict, deadlock, lock timeout. */
const LOST = new Set(["40001", "40P01", "55P03"]);
const TRIES = 6;
const PLAIN: TransactionForm = { begin: "begin", end: "commit" };

/**
 * Runs `work` between BEGIN and COMMIT. A transaction that lost against another is run again from its start;
 * every other error is thrown after ROLLBACK. After an error of the connection the connection is closed, and whether
 * a COMMIT took place is unknown: callers make themselves repeatable.
 */
export function inTransaction<T>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<T>,
  tries = TRIES,
): Promise<T> {
  return repeated(() => runTransaction(pool, PLAIN, work), tries);
}

/** The same on a connection that its holder keeps, and closes after an error. */
export function inTransactionOn<T>(
  client: pg.PoolClient,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  return repeated(() => transactionOn(client, PLAIN, work, () => undefined), TRIES);
}

async function repeated<T>(run: () => Promise<T>, tries: number): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      if (attempt >= tries || !LOST.has(sqlState(error) ?? "")) throw error;
      await sleep(20 * 2 ** attempt * (0.5 + Math.random()));
    }
  }
}
