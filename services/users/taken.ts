/** E-mail addresses and user names belong to one account each, whatever their case. */
import type { Knex } from "knex";
import { brokenConstraint } from "../../db/errors.js";
import { User } from "../../db/models/User.js";
import { ConflictError, type ErrorDetail } from "../../utils/errors.js";

export interface Names {
  readonly email?: string | undefined;
  readonly username?: string | undefined;
}

/** By the index that decides. */
const TAKEN = {
  users_email_once: { path: "email", code: "taken", message: "This e-mail address has an account" },
  users_username_once: { path: "username", code: "taken", message: "This user name is taken" },
} as const satisfies Record<string, ErrorDetail>;

/**
 * Throws `ConflictError("taken")` for both names at once, when an account other than `own` has them. Somebody may be faster
 * afterwards: see `takenErrorOf`.
 */
export async function refuseTaken(
  knex: Knex,
  { email, username }: Names,
  own: string | null = null,
): Promise<void> {
  const query = User.query(knex)
    .select("email", "username")
    .whereRaw("(lower(email) = lower(?) or lower(username) = lower(?))", [email ?? "", username ?? ""]);
  if (own !== null) void query.whereNot("id", own);
  const found = await query;
  const same = (a: string, b: string | undefined): boolean => a.toLowerCase() === b?.toLowerCase();
  const taken = [
    ...(found.some((user) => same(user.email, email)) ? [TAKEN.users_email_once] : []),
    ...(found.some((user) => same(user.username, username)) ? [TAKEN.users_username_once] : []),
  ];
  if (taken.length > 0) throw takenError(taken);
}

/** For an error of a statement that writes an account; null when it has another reason. */
export function takenErrorOf(error: unknown): ConflictError | null {
  const constraint = brokenConstraint(error);
  return constraint !== null && constraint in TAKEN
    ? takenError([TAKEN[constraint as keyof typeof TAKEN]])
    : null;
}

const takenError = (details: readonly ErrorDetail[]): ConflictError =>
  new ConflictError("taken", details.map(({ message }) => message).join(". "), details);
