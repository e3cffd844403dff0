/** Accounts: as others and their owner see them, changed by their owner, given a role, erased. */
import type { Transaction } from "objection";
import { raw } from "objection";
import { sqlState } from "../../db/errors.js";
import type { Database } from "../../db/knex.js";
import type { UserRole, Visibility } from "../../db/models/enums.js";
import { User } from "../../db/models/User.js";
import { NotFoundError, UnauthorizedError, ValidationError } from "../../utils/errors.js";
import type { Logger } from "../../utils/logger.js";
import type { ImportQueue } from "../import/ImportQueue.js";
import { requestErase } from "./erasing.js";
import { type AccountRole, changeRole } from "./roles.js";
import { refuseTaken, takenErrorOf } from "./taken.js";

/** What owners change; a field that is absent stays as it is. */
export interface AccountChanges {
  readonly email?: string;
  readonly username?: string;
  readonly displayName?: string | null;
  readonly bio?: string | null;
  readonly avatarUrl?: string | null;
  /** ISO 3166-1 alpha-2, upper case. */
  readonly country?: string | null;
  /** IANA name. */
  readonly timeZone?: string;
  readonly profileVisibility?: Visibility;
  readonly historyVisibility?: Visibility;
}

export interface UserServiceDependencies {
  readonly database: Database;
  readonly queue: ImportQueue;
  readonly log: Logger;
}

/** SQLSTATE of a time zone that PostgreSQL has no rules for. */
const UNKNOWN_ZONE = "22023";

export class UserService {
  constructor(private readonly deps: UserServiceDependencies) {}

  /** Throws `NotFoundError`; accounts that are off count as gone. */
  async find(id: string): Promise<User> {
    const user = await User.query(this.deps.database.knex).findById(id).whereNull("disabledAt");
    if (user === undefined) throw new NotFoundError();
    return user;
  }

  /**
   * Changes the caller's own account, all or nothing; what is as it was moves no version. `check` sees the account as it
   * is, with nobody else changing it, and may throw. Throws `ConflictError("taken")` naming each field,
   * `ValidationError`, and `UnauthorizedError` when the account was switched off meanwhile.
   */
  async change(id: string, changes: AccountChanges, check: (current: User) => void): Promise<User> {
    try {
      return await User.transaction(this.deps.database.knex, async (trx) => {
        const current = await User.query(trx).findById(id).whereNull("disabledAt").forUpdate();
        if (current === undefined) throw new UnauthorizedError();
        check(current);
        const changed = differing(current, changes);
        if (Object.keys(changed).length === 0) return current;
        if (changed.email !== undefined || changed.username !== undefined)
          await refuseTaken(trx, changed, id);
        if (changed.timeZone !== undefined) await refuseUnknownZone(trx, changed.timeZone);
        return User.query(trx).patchAndFetchById(id, {
          ...changed,
          version: current.version + 1,
          updatedAt: raw("now()"),
        });
      });
    } catch (error) {
      throw takenErrorOf(error) ?? error;
    }
  }

  /** Throws `NotFoundError`, `ConflictError("last_admin")`. */
  async changeRole(adminId: string, id: string, role: UserRole): Promise<AccountRole> {
    const account = await changeRole(this.deps.database.pool, id, role);
    this.deps.log.info("role given", { userId: id, role, by: adminId });
    return account;
  }

  /**
   * Switches the account off and has everything of it deleted. Durable once it resolves; nothing takes it back, so whoever
   * asks has proved to be the owner.
   */
  async erase(id: string): Promise<void> {
    const { database, queue, log } = this.deps;
    await requestErase({ pool: database.pool, queue, log }, id);
  }
}

function differing(current: User, changes: AccountChanges): AccountChanges {
  const now: Readonly<Record<string, unknown>> = { ...current };
  return Object.fromEntries(
    Object.entries(changes).filter(([field, value]) => value !== undefined && value !== now[field]),
  );
}

async function refuseUnknownZone(trx: Transaction, timeZone: string): Promise<void> {
  try {
    await trx.raw("select now() at time zone ?", [timeZone]);
  } catch (error) {
    if (sqlState(error) !== UNKNOWN_ZONE) throw error;
    const message = "timeZone is not known to the database";
    throw new ValidationError(message, [{ path: "timeZone", code: "bad_time_zone", message }]);
  }
}
