/** Who may edit the catalogue, and who may say who may. For the api and for `npm run user`. */
import type { Pool, PoolClient } from "pg";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import type { UserRole } from "../../db/models/enums.js";
import { inTransaction } from "../../db/transaction.js";
import { ConflictError, NotFoundError } from "../../utils/errors.js";

export interface AccountRole {
  readonly id: string;
  readonly username: string;
  readonly role: UserRole;
}

/**
 * Gives an account that is on a role; it counts on the next request, on every process. Throws `NotFoundError`, and
 * `ConflictError("last_admin")` rather than leave nobody who could hand out roles.
 */
export async function changeRole(pool: Pool, userId: string, role: UserRole): Promise<AccountRole> {
  return inTransaction(pool, async (client) => {
    // Two admins who step down at the same time must see each other.
    await client.query("select pg_advisory_xact_lock($1)", [ADVISORY_LOCKS.firstAccount]);
    const found = await client.query<AccountRole>(
      "select id, username, role from users where id = $1 and disabled_at is null for no key update",
      [userId],
    );
    const account = found.rows[0];
    if (account === undefined) throw new NotFoundError();
    if (account.role === role) return account;
    if (account.role === "admin" && !(await hasOtherAdmin(client, userId)))
      throw new ConflictError("last_admin", "Somebody has to be admin: make somebody else one first");
    await client.query(
      "update users set role = $2, version = version + 1, updated_at = now() where id = $1",
      [userId, role],
    );
    return { ...account, role };
  });
}

async function hasOtherAdmin(client: PoolClient, userId: string): Promise<boolean> {
  const found = await client.query(
    "select from users where role = 'admin' and disabled_at is null and id <> $1 limit 1",
    [userId],
  );
  return found.rows.length > 0;
}

export interface ListedAccount extends AccountRole {
  readonly email: string;
  readonly created_at: Date;
  readonly disabled_at: Date | null;
}

/** All accounts, the oldest first. */
export async function listAccounts(pool: Pool): Promise<ListedAccount[]> {
  const found = await pool.query<ListedAccount>(
    "select id, username, email, role, created_at, disabled_at from users order by created_at, id",
  );
  return found.rows;
}

/** The id behind an e-mail address or a user name; null when there is none, or its account is off. */
export async function findLogin(pool: Pool, login: string): Promise<string | null> {
  const column = login.includes("@") ? "email" : "username";
  const found = await pool.query<{ id: string }>(
    `select id from users where lower(${column}) = lower($1) and disabled_at is null`,
    [login],
  );
  return found.rows[0]?.id ?? null;
}
