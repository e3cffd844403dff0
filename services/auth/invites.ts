/**
 * Invites: codes that let one person each create an account where registration is by invite. A code is shown once;
 * its SHA-256 is enough to know it again, as it is random and long.
 */
import { createHash, randomBytes } from "node:crypto";
import { raw } from "objection";
import type { Transaction } from "objection";
import type pg from "pg";
import { Invite } from "../../db/models/Invite.js";
import { uuidv7 } from "../../utils/uuid.js";

const RANDOM_BYTES = 16;
/** Days for which a code works. */
export const INVITE_DAYS = { default: 7, max: 365 } as const;

export interface NewInvite {
  readonly id: string;
  /** To be handed to the person; it is stored nowhere. */
  readonly code: string;
  readonly expiresAt: Date;
}

const hashOf = (code: string): Buffer => createHash("sha256").update(code).digest();

/** Makes an invite that works once, within `days`. Throws `RangeError` for a number of days that is not 1 to 365. */
export async function createInvite(
  pool: pg.Pool,
  { days = INVITE_DAYS.default }: { readonly days?: number } = {},
): Promise<NewInvite> {
  if (!Number.isInteger(days) || days < 1 || days > INVITE_DAYS.max) {
    throw new RangeError(`An invite works for 1 to ${INVITE_DAYS.max} days`);
  }
  const [id, code] = [uuidv7(), randomBytes(RANDOM_BYTES).toString("base64url")];
  const { rows } = await pool.query<{ expires_at: Date }>(
    `insert into invites (id, code_hash, expires_at) values ($1, $2, now() + make_interval(days => $3))
     returning expires_at`,
    [id, hashOf(code), days],
  );
  return { id, code, expiresAt: rows[0]!.expires_at };
}

/** Whether the code would be taken now. Only `redeemInvite` decides. */
export async function isOpenInvite(pool: pg.Pool, code: string): Promise<boolean> {
  const { rowCount } = await pool.query(
    "select from invites where code_hash = $1 and used_at is null and expires_at > now()",
    [hashOf(code)],
  );
  return rowCount === 1;
}

/**
 * Uses the invite up, in the transaction that creates the account: of many who come with one code at once exactly one
 * gets true, and the code works again when that transaction fails.
 */
export async function redeemInvite(trx: Transaction, code: string): Promise<boolean> {
  const used = await Invite.query(trx)
    .patch({ usedAt: raw("now()") })
    .where("codeHash", hashOf(code))
    .whereNull("usedAt")
    .where("expiresAt", ">", raw("now()"));
  return used === 1;
}
