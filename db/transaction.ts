/** A transaction on a connection of a pool, whatever kind of transaction it is. */
import type pg from "pg";

export interface TransactionForm {
  /** The statement that begins it, settings of its own included. */
  readonly begin: string;
  /** How it ends when `work` succeeds; a failure always rolls back. */
  readonly end: "commit" | "rollback";
}

/** Runs `work` in one; throws what it throws. A connection that cannot even be rolled back is closed. */
export async function runTransaction<T>(
  pool: pg.Pool,
  { begin, end }: TransactionForm,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(begin);
    const result = await work(client);
    await client.query(end);
    return result;
  } catch (error) {
    await client.query("rollback").catch((cause: unknown) => {
      broken = cause instanceof Error ? cause : new Error("rollback failed", { cause });
    });
    throw error;
  } finally {
    client.release(broken);
  }
}
