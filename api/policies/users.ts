/** Who may see an account. */
import type { User } from "../../db/models/User.js";
import { NotFoundError } from "../../utils/errors.js";

/** Throws `NotFoundError`, so that a private account cannot be told from none. */
export function assertCanSeeProfile(callerId: string, user: User): void {
  if (user.id !== callerId && user.profileVisibility !== "public") throw new NotFoundError();
}
