/**
 * Sessions. PostgreSQL holds the truth; Redis and each process hold copies, so that most requests ask nobody.
 *
 * A revoked session must never work again, also when Redis was away while it was revoked and comes back with the
 * copy. So a copy is believed only while the revocation watch is trusted, and the watch has the last word. What a copy
 * says of the account holds while the version of the account is the one that the copy was made under.
 */
import type pg from "pg";
import type { Database } from "../../db/knex.js";
import { USER_ROLES, type UserRole } from "../../db/models/enums.js";
import { accountOf } from "../../db/queries/cacheVersions.js";
import { inTransaction } from "../../db/transaction.js";
import type { CacheVersions } from "../cache/CacheVersions.js";
import type { RedisService } from "../cache/RedisService.js";
import type { AccessClaims } from "./accessTokens.js";
import { REMEMBER_MS, type RevocationWatch } from "./RevocationWatch.js";
import {
  endSession,
  endSessions,
  endSurplusSessions,
  insertSession,
  liveSessions,
  lockOwner,
  openSession,
  type OpenSession,
  type ProvenOwner,
  revokeSession,
  rotateSession,
  type SessionState,
  sessionState,
  type SessionView,
  usableSession,
} from "./sessionRows.js";

/**
 * Life of a copy in Redis, and of one in memory, which may be made from the other. Twice this is far below the time for
 * which revocations are remembered.
 */
export const SESSION_COPY_SECONDS = 2 * 3600;
if (SESSION_COPY_SECONDS * 1000 * 4 > REMEMBER_MS)
  throw new Error("copies of sessions outlive the revocation watch");

/** Whoever revokes is answered when the news is out, so that other processes have most likely heard it too. */
const REVOKER_PATIENCE_MS = 300;

/** Copies in memory, about 300 bytes each. */
const MAX_KNOWN = 10_000;

export type Rotation =
  | { readonly outcome: "rotated" | "repeated"; readonly session: OpenSession }
  | { readonly outcome: "reused" | "ended" };

interface SessionStoreOptions {
  readonly database: Database;
  readonly redis: RedisService;
  readonly watch: RevocationWatch;
  readonly versions: CacheVersions;
}

interface Copy {
  readonly state: SessionState;
  /** Of the account. */
  readonly version: number;
  /** On the monotonic clock. */
  readonly until: number;
}

const copyKey = (sessionId: string, version: number): string => `session:${sessionId}:${version}`;

export class SessionStore {
  readonly #database: Database;
  readonly #redis: RedisService;
  readonly #watch: RevocationWatch;
  readonly #versions: CacheVersions;
  /** By session id, in the order in which they end. */
  readonly #known = new Map<string, Copy>();

  constructor({ database, redis, watch, versions }: SessionStoreOptions) {
    this.#database = database;
    this.#redis = redis;
    this.#watch = watch;
    this.#versions = versions;
  }

  /**
   * Begins a session; null when the account is off or its password another one by now. One that was not used for long
   * ends when there are too many.
   */
  async create(owner: ProvenOwner, userAgent: string | null): Promise<OpenSession | null> {
    const { pool } = this.#database;
    const session = await insertSession(pool, owner, userAgent);
    if (session !== null) await this.#forget(await endSurplusSessions(pool, owner.id));
    return session;
  }

  /** Those that work, last used first. */
  list(userId: string): Promise<readonly SessionView[]> {
    return liveSessions(this.#database.pool, userId);
  }

  /**
   * The session, if it may be used now; null when it never was, has ended, is another user's, or its account is
   * disabled. Throws when it takes PostgreSQL to tell and that does not answer.
   */
  async find(claims: AccessClaims): Promise<SessionState | null> {
    if (this.#watch.isRevoked(claims.sessionId)) return null;
    const state = this.#watch.trusted ? await this.#copied(claims) : await this.#load(claims);
    // It may have been revoked while it was being read.
    if (state === null || this.#watch.isRevoked(claims.sessionId)) return null;
    return state.expiresAt > Date.now() ? state : null;
  }

  async #copied(claims: AccessClaims): Promise<SessionState | null> {
    const { userId, sessionId } = claims;
    // Before the session is read: a copy may be newer than its version says, never older.
    const [version] = (await this.#versions.current([accountOf(userId)])) ?? [];
    if (version === undefined) return this.#load(claims);
    const known = this.#kept(claims, version);
    if (known !== undefined) return known;
    const state = await this.#redis.getOrLoad(
      copyKey(sessionId, version),
      SESSION_COPY_SECONDS,
      () => this.#load(claims),
      parseState,
    );
    if (state?.userId !== userId) return null;
    this.#remember(sessionId, { state, version, until: performance.now() + SESSION_COPY_SECONDS * 1000 });
    return state;
  }

  /** The session, if memory says that it may be used now; undefined when `find` has to tell. */
  known(claims: AccessClaims): SessionState | undefined {
    if (!this.#watch.trusted || this.#watch.isRevoked(claims.sessionId)) return undefined;
    const version = this.#versions.known([accountOf(claims.userId)])?.[0];
    const state = version === undefined ? undefined : this.#kept(claims, version);
    return state !== undefined && state.expiresAt > Date.now() ? state : undefined;
  }

  #kept({ userId, sessionId }: AccessClaims, version: number): SessionState | undefined {
    const copy = this.#known.get(sessionId);
    const good = copy?.version === version && copy.state.userId === userId && copy.until > performance.now();
    return good ? copy.state : undefined;
  }

  #remember(sessionId: string, copy: Copy): void {
    this.#known.delete(sessionId);
    this.#known.set(sessionId, copy);
    const now = performance.now();
    for (const [id, { until }] of this.#known) {
      if (until > now && this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(id);
    }
  }

  /** For checking a refresh token: also sessions that have ended. */
  open(sessionId: string): Promise<OpenSession | null> {
    return openSession(this.#database.pool, sessionId);
  }

  /**
   * Makes token number `counter` the spent one. One conditional update decides: of many callers with the same
   * token exactly one rotates, the others get the same successor again while the grace lasts. A token older than
   * that was stolen, from us or by us: the family is revoked, and that is committed before this returns.
   */
  async rotate(sessionId: string, counter: number): Promise<Rotation> {
    const { pool } = this.#database;
    const rotated = await rotateSession(pool, sessionId, counter);
    if (rotated !== null) return { outcome: "rotated", session: rotated };
    const current = await usableSession(pool, sessionId);
    if (current === null || counter > current.session.counter) return { outcome: "ended" };
    if (counter === current.session.counter - 1 && current.inGrace) {
      return { outcome: "repeated", session: current.session };
    }
    await this.revoke(sessionId, "refresh_reused");
    return { outcome: "reused" };
  }

  /** Ends the session for good. Committed, and known to this process, when it returns; harmless when repeated. */
  async revoke(sessionId: string, reason: string): Promise<void> {
    await revokeSession(this.#database.pool, sessionId, reason);
    await this.#forget([sessionId]);
  }

  /** As `revoke`, for a session of this account that still works; false when it has none of this id. */
  async end(userId: string, sessionId: string, reason: string): Promise<boolean> {
    const ended = await endSession(this.#database.pool, userId, sessionId, reason);
    if (ended) await this.#forget([sessionId]);
    return ended;
  }

  async endAll(userId: string, reason: string): Promise<void> {
    await this.#forget(await endSessions(this.#database.pool, userId, reason));
  }

  /**
   * Runs `work` in a transaction that locks the account first, ends all its sessions and begins a new one. Null, and nothing
   * done, when the account is off or its password another one by now.
   */
  async replaceAll(
    owner: ProvenOwner,
    userAgent: string | null,
    reason: string,
    work: (client: pg.ClientBase) => Promise<void>,
  ): Promise<OpenSession | null> {
    const replaced = await inTransaction(this.#database.pool, async (client) => {
      // A login and a new API token lock the account, too: none that began with the old password outlives it.
      if (!(await lockOwner(client, owner))) return null;
      const ended = await endSessions(client, owner.id, reason);
      const session = await insertSession(client, owner, userAgent);
      if (session === null) return null;
      await work(client);
      return { session, ended };
    });
    if (replaced === null) return null;
    await this.#forget(replaced.ended);
    return replaced.session;
  }

  /** Of sessions that are revoked, and that is committed: this process knows it when this returns, the others as a rule. */
  async #forget(sessionIds: readonly string[]): Promise<void> {
    if (sessionIds.length === 0) return;
    for (const id of sessionIds) this.#watch.remember(id);
    await this.#versions.caughtUp(REVOKER_PATIENCE_MS);
    const keys = sessionIds.flatMap((id) => {
      const copy = this.#known.get(id);
      this.#known.delete(id);
      return copy === undefined ? [] : [copyKey(id, copy.version)];
    });
    if (keys.length > 0) await this.#redis.del(...keys);
  }

  #load({ userId, sessionId }: AccessClaims): Promise<SessionState | null> {
    return sessionState(this.#database.pool, userId, sessionId);
  }
}

const ROLES: ReadonlySet<unknown> = new Set(USER_ROLES);

function parseState(found: unknown): SessionState | null {
  if (typeof found !== "object" || found === null) return null;
  const { userId, role, expiresAt } = found as Partial<Record<keyof SessionState, unknown>>;
  if (typeof userId !== "string" || typeof expiresAt !== "number" || !ROLES.has(role)) return null;
  return { userId, role: role as UserRole, expiresAt };
}
