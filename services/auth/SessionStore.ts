/**
 * Sessions. PostgreSQL holds the truth; Redis and each process hold copies for half a minute each, so that most requests
 * ask nobody.
 *
 * A revoked session must never work again, also when Redis was away while it was revoked and comes back with the
 * copy. So a copy is believed only while the revocation watch is trusted, and the watch has the last word.
 */
import { randomBytes } from "node:crypto";
import { uuidv7 } from "../../utils/uuid.js";
import type { Database } from "../../db/knex.js";
import { USER_ROLES, type UserRole } from "../../db/models/enums.js";
import type { RedisService } from "../cache/RedisService.js";
import { REMEMBER_MS, REVOCATION_CHANNEL, type RevocationWatch } from "./RevocationWatch.js";

/**
 * Life of a copy in Redis, and of one in memory, which may be made from the other: twice this is how long a change by
 * hand in SQL may take to count. Far below the time for which revocations are remembered.
 */
export const SESSION_COPY_SECONDS = 30;
if (SESSION_COPY_SECONDS * 1000 * 4 > REMEMBER_MS)
  throw new Error("copies of sessions outlive the revocation watch");

/** Copies in memory, about 300 bytes each. */
const MAX_KNOWN = 10_000;

/** However often it is refreshed, a session ends after this. */
const ABSOLUTE_DAYS = 90;
/** A session that nobody refreshed for so long has ended. */
const IDLE_DAYS = 30;
/** How long the predecessor of the current refresh token still gets the same answer again. */
export const GRACE_SECONDS = 20;
const USER_AGENT_MAX = 200;

/** What a request needs to know of its session. */
export interface SessionState {
  readonly userId: string;
  readonly role: UserRole;
  /** Unix milliseconds. */
  readonly expiresAt: number;
}

export interface OpenSession {
  readonly id: string;
  readonly userId: string;
  /** Number of the refresh token that is valid now. */
  readonly counter: number;
  readonly refreshKey: Buffer;
}

export type Rotation =
  | { readonly outcome: "rotated" | "repeated"; readonly session: OpenSession }
  | { readonly outcome: "reused" | "ended" };

interface SessionStoreOptions {
  readonly database: Database;
  readonly redis: RedisService;
  readonly watch: RevocationWatch;
}

const copyKey = (sessionId: string): string => `session:${sessionId}`;

export class SessionStore {
  readonly #database: Database;
  readonly #redis: RedisService;
  readonly #watch: RevocationWatch;
  /** Session id → its copy and until when it may be used, on the monotonic clock; in that order. */
  readonly #known = new Map<string, { readonly state: SessionState; readonly until: number }>();

  constructor({ database, redis, watch }: SessionStoreOptions) {
    this.#database = database;
    this.#redis = redis;
    this.#watch = watch;
  }

  /** Begins a family of refresh tokens and puts its copy into Redis. */
  async create(userId: string, role: UserRole, userAgent: string | null): Promise<OpenSession> {
    const session = { id: uuidv7(), userId, counter: 0, refreshKey: randomBytes(32) };
    const { rows } = await this.#database.pool.query<{ expires_at: Date }>({
      name: "session-create",
      text: `
        insert into sessions (id, user_id, refresh_key, user_agent, expires_at)
        values ($1, $2, $3, $4, now() + make_interval(days => $5))
        returning expires_at`,
      values: [session.id, userId, session.refreshKey, userAgent?.slice(0, USER_AGENT_MAX), ABSOLUTE_DAYS],
    });
    const expiresAt = rows[0]?.expires_at.getTime() ?? 0;
    const state: SessionState = { userId, role, expiresAt };
    await this.#redis.set(copyKey(session.id), JSON.stringify(state), SESSION_COPY_SECONDS);
    return session;
  }

  /**
   * The session, if it may be used now; null when it never was, has ended, or its account is disabled. Throws
   * when neither Redis nor PostgreSQL can tell.
   */
  async find(sessionId: string): Promise<SessionState | null> {
    if (this.#watch.isRevoked(sessionId)) return null;
    const known = this.#watch.trusted ? this.#remembered(sessionId) : null;
    if (known !== null) return unexpired(known);
    const load = (): Promise<SessionState | null> => this.#load(sessionId);
    const state = this.#watch.trusted
      ? await this.#redis.getOrLoad(copyKey(sessionId), SESSION_COPY_SECONDS, load, parseState)
      : await load();
    if (this.#watch.isRevoked(sessionId)) {
      // Revoked while it was being read: the copy written just now must not stay.
      await this.#redis.del(copyKey(sessionId));
      return null;
    }
    if (state !== null) this.#remember(sessionId, state);
    return unexpired(state);
  }

  #remembered(sessionId: string): SessionState | null {
    const copy = this.#known.get(sessionId);
    return copy !== undefined && copy.until > performance.now() ? copy.state : null;
  }

  /** Also while the watch is not trusted: by the time it is, it knows every revocation of a life of this copy. */
  #remember(sessionId: string, state: SessionState): void {
    const now = performance.now();
    this.#known.delete(sessionId);
    this.#known.set(sessionId, { state, until: now + SESSION_COPY_SECONDS * 1000 });
    for (const [id, { until }] of this.#known) {
      if (until > now && this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(id);
    }
  }

  /** For checking a refresh token: also sessions that have ended. */
  async open(sessionId: string): Promise<OpenSession | null> {
    const { rows } = await this.#database.pool.query<SessionRow>({
      name: "session-open",
      text: "select id, user_id, refresh_counter, refresh_key from sessions where id = $1",
      values: [sessionId],
    });
    return rows[0] === undefined ? null : toOpenSession(rows[0]);
  }

  /**
   * Makes token number `counter` the spent one. One conditional update decides: of many callers with the same
   * token exactly one rotates, the others get the same successor again while the grace lasts. A token older than
   * that was stolen, from us or by us: the family is revoked, and that is committed before this returns.
   */
  async rotate(sessionId: string, counter: number): Promise<Rotation> {
    const rotated = await this.#database.pool.query<SessionRow>({
      name: "session-rotate",
      text: `
        update sessions s
        set refresh_counter = refresh_counter + 1, rotated_at = now(), last_used_at = now()
        from users u
        where s.id = $1 and s.refresh_counter = $2 and u.id = s.user_id and ${USABLE}
        returning s.id, s.user_id, s.refresh_counter, s.refresh_key`,
      values: [sessionId, counter, IDLE_DAYS],
    });
    if (rotated.rows[0] !== undefined) return { outcome: "rotated", session: toOpenSession(rotated.rows[0]) };

    const { rows } = await this.#database.pool.query<SessionRow & { in_grace: boolean }>({
      name: "session-after-rotate",
      text: `
        select s.id, s.user_id, s.refresh_counter, s.refresh_key,
               s.rotated_at > now() - make_interval(secs => $2) as in_grace
        from sessions s join users u on u.id = s.user_id
        where s.id = $1 and ${USABLE}`,
      values: [sessionId, GRACE_SECONDS, IDLE_DAYS],
    });
    const current = rows[0];
    if (current === undefined || counter > current.refresh_counter) return { outcome: "ended" };
    if (counter === current.refresh_counter - 1 && current.in_grace) {
      return { outcome: "repeated", session: toOpenSession(current) };
    }
    await this.revoke(sessionId, "refresh_reused");
    return { outcome: "reused" };
  }

  /** Ends the session for good. Committed, and known to this process, when it returns; harmless when repeated. */
  async revoke(sessionId: string, reason: string): Promise<void> {
    await this.#database.pool.query({
      name: "session-revoke",
      text: `
        with revoked as (
          update sessions set revoked_at = now(), revoked_reason = $2
          where id = $1 and revoked_at is null
          returning id
        )
        select pg_notify($3, id::text) from revoked`,
      values: [sessionId, reason, REVOCATION_CHANNEL],
    });
    this.#watch.remember(sessionId);
    await this.#redis.del(copyKey(sessionId));
  }

  async #load(sessionId: string): Promise<SessionState | null> {
    const { rows } = await this.#database.pool.query<{ user_id: string; role: UserRole; expires_at: Date }>({
      name: "session-state",
      text: `
        select s.user_id, u.role, s.expires_at
        from sessions s join users u on u.id = s.user_id
        where s.id = $1 and s.revoked_at is null and s.expires_at > now() and u.disabled_at is null`,
      values: [sessionId],
    });
    const row = rows[0];
    return row === undefined
      ? null
      : { userId: row.user_id, role: row.role, expiresAt: row.expires_at.getTime() };
  }
}

const unexpired = (state: SessionState | null): SessionState | null =>
  state !== null && state.expiresAt > Date.now() ? state : null;

interface SessionRow {
  id: string;
  user_id: string;
  refresh_counter: number;
  refresh_key: Buffer;
}

const toOpenSession = (row: SessionRow): OpenSession => ({
  id: row.id,
  userId: row.user_id,
  counter: row.refresh_counter,
  refreshKey: row.refresh_key,
});

/** `$3` are the days a session may lie unused. */
const USABLE = `
  s.revoked_at is null and s.expires_at > now() and u.disabled_at is null
  and s.last_used_at > now() - make_interval(days => $3)`;

const ROLES: ReadonlySet<unknown> = new Set(USER_ROLES);

function parseState(found: unknown): SessionState | null {
  if (typeof found !== "object" || found === null) return null;
  const { userId, role, expiresAt } = found as Partial<Record<keyof SessionState, unknown>>;
  if (typeof userId !== "string" || typeof expiresAt !== "number" || !ROLES.has(role)) return null;
  return { userId, role: role as UserRole, expiresAt };
}
