/** Statements about sessions, for whoever has a connection, in a transaction or not. */
import { randomBytes } from "node:crypto";
import type pg from "pg";
import type { UserRole } from "../../db/models/enums.js";
import { uuidv7 } from "../../utils/uuid.js";

/** However often it is refreshed, a session ends after this. */
const ABSOLUTE_DAYS = 90;
/** A session that nobody refreshed for so long has ended. */
export const IDLE_DAYS = 30;
/** The one that was not used for longest ends when another begins. */
export const MAX_SESSIONS = 50;
/** How long the predecessor of the current refresh token still gets the same answer again. */
export const GRACE_SECONDS = 20;
const USER_AGENT_MAX = 200;

type Client = pg.Pool | pg.ClientBase;

export interface OpenSession {
  readonly id: string;
  readonly userId: string;
  /** Number of the refresh token that is valid now. */
  readonly counter: number;
  readonly refreshKey: Buffer;
}

/** An account as it was when its password was found to be right. */
export interface ProvenOwner {
  readonly id: string;
  readonly passwordHash: string;
}

/** What a request needs to know of its session. */
export interface SessionState {
  readonly userId: string;
  readonly role: UserRole;
  /** Unix milliseconds. */
  readonly expiresAt: number;
}

/** A session as its user sees it. */
export interface SessionView {
  readonly id: string;
  readonly userAgent: string | null;
  readonly createdAt: Date;
  /** When it began or was last refreshed. */
  readonly lastUsedAt: Date;
  /** When it ends if nobody refreshes it. */
  readonly expiresAt: Date;
}

/** Of a row `s` of sessions: neither ended nor expired nor idle for too long. `$2` are the days it may lie unused. */
const LIVE = `
  s.revoked_at is null and s.expires_at > now() and s.last_used_at > now() - make_interval(days => $2)`;

const OPEN_SESSION = `
  s.id, s.user_id as "userId", s.refresh_counter as counter, s.refresh_key as "refreshKey"`;

/**
 * Begins a family of refresh tokens; null when the account is off or its password another one by now. The row of the
 * account is locked against that: whoever changes the password afterwards finds this session, and ends it.
 */
export async function insertSession(
  client: Client,
  owner: ProvenOwner,
  userAgent: string | null,
): Promise<OpenSession | null> {
  const session = { id: uuidv7(), userId: owner.id, counter: 0, refreshKey: randomBytes(32) };
  const { rowCount } = await client.query({
    name: "session-create",
    text: `
      with owner as (
        select id from users where id = $2 and password_hash = $3 and disabled_at is null for share
      )
      insert into sessions (id, user_id, refresh_key, user_agent, expires_at)
      select $1::uuid, id, $4::bytea, $5::text, now() + make_interval(days => $6) from owner`,
    values: [
      session.id,
      owner.id,
      owner.passwordHash,
      session.refreshKey,
      userAgent?.slice(0, USER_AGENT_MAX),
      ABSOLUTE_DAYS,
    ],
  });
  return rowCount === 1 ? session : null;
}

/** Ends the sessions beyond `MAX_SESSIONS`; gives their ids. */
export async function endSurplusSessions(client: Client, userId: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ id: string }>({
    name: "session-end-surplus",
    text: `
      update sessions set revoked_at = now(), revoked_reason = 'too_many'
      where revoked_at is null and id in (
        select s.id from sessions s where s.user_id = $1 and ${LIVE}
        order by s.last_used_at desc, s.id desc offset $3)
      returning id`,
    values: [userId, IDLE_DAYS, MAX_SESSIONS],
  });
  return rows.map(({ id }) => id);
}

/** Ends one live session of this account; false when there is none of this id. */
export async function endSession(
  client: Client,
  userId: string,
  sessionId: string,
  reason: string,
): Promise<boolean> {
  const { rowCount } = await client.query({
    name: "session-end",
    text: `
      update sessions s set revoked_at = now(), revoked_reason = $4
      where s.id = $3 and s.user_id = $1 and ${LIVE}`,
    values: [userId, IDLE_DAYS, sessionId, reason],
  });
  return rowCount === 1;
}

/** Ends all sessions of the account; gives their ids. */
export async function endSessions(
  client: Client,
  userId: string,
  reason: string,
): Promise<readonly string[]> {
  const { rows } = await client.query<{ id: string }>({
    name: "session-end-all",
    text: `
      update sessions set revoked_at = now(), revoked_reason = $2
      where user_id = $1 and revoked_at is null
      returning id`,
    values: [userId, reason],
  });
  return rows.map(({ id }) => id);
}

/** Those that work, last used first; never more than a few above `MAX_SESSIONS`. */
export async function liveSessions(client: Client, userId: string): Promise<readonly SessionView[]> {
  const { rows } = await client.query<SessionView>({
    name: "session-list",
    text: `
      select s.id, s.user_agent as "userAgent", s.created_at as "createdAt", s.last_used_at as "lastUsedAt",
             least(s.expires_at, s.last_used_at + make_interval(days => $2)) as "expiresAt"
      from sessions s where s.user_id = $1 and ${LIVE}
      order by s.last_used_at desc, s.id desc`,
    values: [userId, IDLE_DAYS],
  });
  return rows;
}

/** Locks the row of the account; false when it is off or its password another one by now. */
export async function lockOwner(client: pg.ClientBase, owner: ProvenOwner): Promise<boolean> {
  const { rowCount } = await client.query(
    "select from users where id = $1 and password_hash = $2 and disabled_at is null for no key update",
    [owner.id, owner.passwordHash],
  );
  return rowCount === 1;
}

/** Null unless this session is this account's and has not ended, and the account is on. */
export async function sessionState(
  client: Client,
  userId: string,
  sessionId: string,
): Promise<SessionState | null> {
  const { rows } = await client.query<{ role: UserRole; expires_at: Date }>({
    name: "session-state",
    text: `
      select u.role, s.expires_at
      from sessions s join users u on u.id = s.user_id
      where s.id = $1 and s.user_id = $2 and s.revoked_at is null and s.expires_at > now()
        and u.disabled_at is null`,
    values: [sessionId, userId],
  });
  const row = rows[0];
  return row === undefined ? null : { userId, role: row.role, expiresAt: row.expires_at.getTime() };
}

/** Also a session that has ended; null when there was none. */
export async function openSession(client: Client, sessionId: string): Promise<OpenSession | null> {
  const { rows } = await client.query<OpenSession>({
    name: "session-open",
    text: `select ${OPEN_SESSION} from sessions s where s.id = $1`,
    values: [sessionId],
  });
  return rows[0] ?? null;
}

/** Makes the next refresh token the valid one; null unless `counter` is the number of the one that is and the session is usable. */
export async function rotateSession(
  client: Client,
  sessionId: string,
  counter: number,
): Promise<OpenSession | null> {
  const { rows } = await client.query<OpenSession>({
    name: "session-rotate",
    text: `
      update sessions s
      set refresh_counter = refresh_counter + 1, rotated_at = now(), last_used_at = now()
      from users u
      where s.id = $1 and s.refresh_counter = $3 and u.id = s.user_id and u.disabled_at is null and ${LIVE}
      returning ${OPEN_SESSION}`,
    values: [sessionId, IDLE_DAYS, counter],
  });
  return rows[0] ?? null;
}

/** Null when it is none that could be refreshed. `inGrace`: its last rotation is younger than `GRACE_SECONDS`. */
export async function usableSession(
  client: Client,
  sessionId: string,
): Promise<{ readonly session: OpenSession; readonly inGrace: boolean } | null> {
  const { rows } = await client.query<OpenSession & { inGrace: boolean }>({
    name: "session-after-rotate",
    text: `
      select ${OPEN_SESSION}, s.rotated_at > now() - make_interval(secs => $3) as "inGrace"
      from sessions s join users u on u.id = s.user_id
      where s.id = $1 and u.disabled_at is null and ${LIVE}`,
    values: [sessionId, IDLE_DAYS, GRACE_SECONDS],
  });
  const [row] = rows;
  if (row === undefined) return null;
  const { inGrace, ...session } = row;
  return { session, inGrace };
}

/** Harmless when repeated. A trigger tells every process. */
export async function revokeSession(client: Client, sessionId: string, reason: string): Promise<void> {
  await client.query({
    name: "session-revoke",
    text: `
      update sessions set revoked_at = now(), revoked_reason = $2
      where id = $1 and revoked_at is null`,
    values: [sessionId, reason],
  });
}
