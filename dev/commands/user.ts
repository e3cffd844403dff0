/** `npm run user`: accounts from the command line of the server, for what nobody may do through the api yet. */
import { parseArgs } from "node:util";
import pg from "pg";
import { USER_ROLES, type UserRole } from "../../db/models/enums.js";
import { createInvite, INVITE_DAYS } from "../../services/auth/invites.js";
import { changeRole, findLogin, listAccounts } from "../../services/users/roles.js";
import { AppError } from "../../utils/errors.js";
import { runningDatabaseUrl } from "../running.js";

const USAGE = `usage: npm run user -- COMMAND
  list                     all accounts
  role LOGIN ROLE          give the account with this e-mail address or user name a role: ${USER_ROLES.join(", ")}
  invite [--days NUMBER]   make a code with which one person can register, for ${INVITE_DAYS.default} days or as many as said

Works on DATABASE_URL, or on the playlog that npm start runs here.`;

export async function run(args: readonly string[]): Promise<void> {
  const command = commandOf(args);
  if (command === undefined) throw new Error(USAGE);
  const pool = new pg.Pool({ connectionString: await runningDatabaseUrl(), max: 1 });
  try {
    console.log(await command(pool));
  } catch (error) {
    throw error instanceof AppError ? new Error(error.message) : error;
  } finally {
    await pool.end();
  }
}

/** Prints what it gives. */
type Command = (pool: pg.Pool) => Promise<string>;

/** Undefined for what cannot be understood. */
export function commandOf(args: readonly string[]): Command | undefined {
  const [name, ...rest] = args;
  switch (name) {
    case "list":
      return rest.length === 0 ? list : undefined;
    case "role": {
      const [login, role] = rest;
      return login !== undefined && isRole(role) && rest.length === 2
        ? (pool) => giveRole(pool, login, role)
        : undefined;
    }
    case "invite": {
      const days = daysOf(rest);
      return days === undefined ? undefined : (pool) => invite(pool, days);
    }
    default:
      return undefined;
  }
}

const isRole = (text: string | undefined): text is UserRole => USER_ROLES.some((role) => role === text);

/** Undefined for arguments that say something else. */
function daysOf(args: readonly string[]): number | undefined {
  try {
    const { values } = parseArgs({ args: [...args], options: { days: { type: "string" } } });
    const days = Number(values.days ?? INVITE_DAYS.default);
    return Number.isInteger(days) && days >= 1 && days <= INVITE_DAYS.max ? days : undefined;
  } catch {
    return undefined;
  }
}

async function list(pool: pg.Pool): Promise<string> {
  const accounts = await listAccounts(pool);
  const rows = accounts.map(({ username, email, role, created_at, disabled_at }) => [
    username,
    email,
    role,
    created_at.toISOString().slice(0, 10),
    disabled_at === null ? "" : "off",
  ]);
  const table = [["user name", "e-mail", "role", "since", ""], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

async function giveRole(pool: pg.Pool, login: string, role: UserRole): Promise<string> {
  const id = await findLogin(pool, login);
  if (id === null) throw new Error(`There is no account with the e-mail address or user name ${login}`);
  const { username } = await changeRole(pool, id, role);
  return `${username} is ${role} now`;
}

async function invite(pool: pg.Pool, days: number): Promise<string> {
  const { code, expiresAt } = await createInvite(pool, { days });
  return `${code}\nworks once, until ${expiresAt.toISOString()}, as "invite" of POST /api/v1/auth/register`;
}
