/** What a caller may do at all, whatever it is done to. */
import type { TokenScope, UserRole } from "../../db/models/enums.js";
import { ForbiddenError } from "../../utils/errors.js";
import type { Caller } from "../types.js";

/** Each role may do what those before it may. */
const RANK: Readonly<Record<UserRole, number>> = { user: 0, editor: 1, admin: 2 };

/** Throws `ForbiddenError` for a role below `least`. */
export function assertRole({ role }: Pick<Caller, "role">, least: UserRole): void {
  if (RANK[role] < RANK[least]) {
    throw new ForbiddenError(`This takes the role ${least}`, "role_required");
  }
}

/** Throws `ForbiddenError` for a personal API token without `needed`; a session has every scope. */
export function assertScope({ scopes }: Pick<Caller, "scopes">, needed: TokenScope | "session"): void {
  if (scopes === null) return;
  if (needed === "session") {
    throw new ForbiddenError("This takes a login; API tokens cannot do it", "session_required");
  }
  if (!scopes.includes(needed)) {
    throw new ForbiddenError(`This API token lacks the scope ${needed}`, "scope_required");
  }
}

/** The session of a caller whose endpoint has the scope `session`, which no personal API token passes. */
export function sessionOf({ sessionId }: Pick<Caller, "sessionId">): string {
  if (sessionId === null) throw new Error("An API token came where only a session may");
  return sessionId;
}
