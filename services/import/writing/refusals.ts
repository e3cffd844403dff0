/** What the database refuses of a transaction's rows, and which of them it refuses. */
import { brokenConstraint, sqlState } from "../../../db/errors.js";

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
