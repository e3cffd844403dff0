/** E-mail addresses and user names belong to one account each, whatever their case. */
import { brokenConstraint } from "../../db/errors.js";
import { ConflictError, type ErrorDetail } from "../../utils/errors.js";

/** By the index that says so. */
export const TAKEN = {
  users_email_once: { path: "email", code: "taken", message: "This e-mail address has an account" },
  users_username_once: { path: "username", code: "taken", message: "This user name is taken" },
} as const satisfies Record<string, ErrorDetail>;

/** `details` not empty. */
export const takenError = (details: readonly ErrorDetail[]): ConflictError =>
  new ConflictError("taken", details.map(({ message }) => message).join(". "), details);

/** For an error of a statement that writes an account; null when it has another reason. */
export function takenErrorOf(error: unknown): ConflictError | null {
  const constraint = brokenConstraint(error);
  return constraint !== null && constraint in TAKEN
    ? takenError([TAKEN[constraint as keyof typeof TAKEN]])
    : null;
}
