/**
 * Personal API tokens: for scripts and apps that cannot log in. PostgreSQL keeps the SHA-256 of each; a process holds
 * those in use in memory, so that one that asks often costs no query. What is in memory counts only while the account
 * has the version it was read with: triggers move that when a token ends or changes, when the role does, and when the
 * account is switched off. See docs/adr/0012.
 */
import { createHash, randomBytes } from "node:crypto";
import type pg from "pg";
import type { Database } from "../../db/knex.js";
import type { TokenScope, UserRole } from "../../db/models/enums.js";
import { accountOf } from "../../db/queries/cacheVersions.js";
import { inTransaction } from "../../db/transaction.js";
import { ConflictError, ForbiddenError, UnauthorizedError } from "../../utils/errors.js";
import { uuidv7 } from "../../utils/uuid.js";
import type { CacheVersions } from "../cache/CacheVersions.js";

/** 256 random bits behind a prefix by which people and secret scanners know what it is. */
const PREFIX = "playlog_";
const RANDOM_BYTES = 32;
const TOKEN = /^playlog_[\w-]{43}$/;

/** Tokens of one account that work at the same time. */
export const MAX_TOKENS = 50;

/** Tokens in memory, about 400 bytes each. */
const MAX_KNOWN = 10_000;
/** `last_used_at` is at most this much behind. */
const NOTE_USE_EVERY_MS = 60_000;
/** Whoever ends a token is answered when the news is out, so that other processes have most likely heard it too. */
const REVOKER_PATIENCE_MS = 300;

/** What a request needs to know of the token it came with. */
export interface TokenState {
  readonly id: string;
  readonly userId: string;
  readonly role: UserRole;
  readonly scopes: readonly TokenScope[];
  /** Unix milliseconds; null: it does not expire. */
  readonly expiresAt: number | null;
}

/** A token as its owner sees it. */
export interface ApiTokenView {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly TokenScope[];
  readonly lastUsedAt: Date | null;
  readonly expiresAt: Date | null;
  readonly createdAt: Date;
}

export interface NewApiToken {
  readonly name: string;
  readonly scopes: readonly TokenScope[];
  /** Null: it works until it is revoked. */
  readonly expiresAt: Date | null;
}

interface Known {
  readonly state: TokenState;
  /** Of the account, in the snapshot that the rest was read from. */
  readonly version: number;
  /** Not noted as used before, on the monotonic clock. */
  noteUseAt: number;
}

/** Whether a bearer credential is meant to be one of these; a session's is a JWT. */
export const looksLikeApiToken = (credential: string): boolean => credential.startsWith(PREFIX);

const hashOf = (token: string): Buffer => createHash("sha256").update(token).digest();

/** Of a row `t` of api_tokens. */
const LIVE = "t.revoked_at is null and (t.expires_at is null or t.expires_at > now())";

const VIEW = `
  t.id, t.name, t.scopes, t.last_used_at as "lastUsedAt", t.expires_at as "expiresAt", t.created_at as "createdAt"`;

export interface ApiTokenStoreOptions {
  readonly database: Database;
  readonly versions: CacheVersions;
}

export class ApiTokenStore {
  readonly #pool: pg.Pool;
  readonly #versions: CacheVersions;
  /** By hash in base64, in the order in which they came. */
  readonly #known = new Map<string, Known>();

  constructor({ database, versions }: ApiTokenStoreOptions) {
    this.#pool = database.pool;
    this.#versions = versions;
  }

  /**
   * The token itself is in the answer, and nowhere else ever again. Throws `ConflictError("too_many_tokens")`,
   * `ForbiddenError("role_required")` for the scope `admin` without the role, and `UnauthorizedError` when the session
   * that asks has ended meanwhile: a session that is being thrown out leaves no token behind.
   */
  async create(
    userId: string,
    sessionId: string,
    { name, scopes, expiresAt }: NewApiToken,
  ): Promise<ApiTokenView & { readonly token: string }> {
    const token = `${PREFIX}${randomBytes(RANDOM_BYTES).toString("base64url")}`;
    const made = await inTransaction(this.#pool, async (client) => {
      // In turns with others of this account, and with a change of its password.
      const owner = await client.query<{ role: UserRole }>(
        "select role from users where id = $1 and disabled_at is null for no key update",
        [userId],
      );
      const asked = await client.query<{ alive: boolean; tokens: number }>(
        `select exists (select from sessions s where s.id = $2 and s.user_id = $1 and s.revoked_at is null) as alive,
                (select count(*)::int from api_tokens t where t.user_id = $1 and ${LIVE}) as tokens`,
        [userId, sessionId],
      );
      const [role, state] = [owner.rows[0]?.role, asked.rows[0]];
      if (role === undefined || state?.alive !== true) throw new UnauthorizedError();
      if (scopes.includes("admin") && role !== "admin") {
        throw new ForbiddenError("Only an admin can give a token the scope admin", "role_required");
      }
      if (state.tokens >= MAX_TOKENS) {
        throw new ConflictError("too_many_tokens", `An account has at most ${MAX_TOKENS} API tokens`);
      }
      const { rows } = await client.query<ApiTokenView>(
        `insert into api_tokens as t (id, user_id, name, token_hash, scopes, expires_at)
         values ($1, $2, $3, $4, $5, $6) returning ${VIEW}`,
        [uuidv7(), userId, name, hashOf(token), [...new Set(scopes)], expiresAt],
      );
      return rows[0]!;
    });
    return { ...made, token };
  }

  /** Those that work, newest first. */
  async list(userId: string): Promise<readonly ApiTokenView[]> {
    const { rows } = await this.#pool.query<ApiTokenView>({
      name: "api-token-list",
      text: `
        select ${VIEW} from api_tokens t where t.user_id = $1 and ${LIVE}
        order by t.created_at desc, t.id desc`,
      values: [userId],
    });
    return rows;
  }

  /** False when this account has no such token that works. After that it works nowhere on the next request. */
  async revoke(userId: string, tokenId: string): Promise<boolean> {
    const { rowCount } = await this.#pool.query({
      name: "api-token-revoke",
      // A trigger tells every process.
      text: `update api_tokens t set revoked_at = now() where t.user_id = $1 and t.id = $2 and ${LIVE}`,
      values: [userId, tokenId],
    });
    if (rowCount === 1) await this.#versions.caughtUp(REVOKER_PATIENCE_MS);
    return rowCount === 1;
  }

  /** The token, if it may be used now. Throws when it takes PostgreSQL to tell and that does not answer. */
  async find(token: string): Promise<TokenState | null> {
    if (!TOKEN.test(token)) return null;
    const hash = hashOf(token);
    const key = hash.toString("base64");
    let known = this.#known.get(key);
    if (known === undefined || !(await this.#isCurrent(known))) known = await this.#load(hash, key);
    if (known === undefined) return null;
    const { state } = known;
    if (state.expiresAt !== null && state.expiresAt <= Date.now()) return null;
    this.#noteUse(known);
    return state;
  }

  /** For those who came with it long ago. Throws like `find`. */
  async works(userId: string, tokenId: string): Promise<boolean> {
    const { rowCount } = await this.#pool.query({
      name: "api-token-works",
      text: `
        select from api_tokens t join users u on u.id = t.user_id
        where t.id = $2 and t.user_id = $1 and u.disabled_at is null and ${LIVE}`,
      values: [userId, tokenId],
    });
    return rowCount === 1;
  }

  async #isCurrent({ state, version }: Known): Promise<boolean> {
    const [current] = (await this.#versions.current([accountOf(state.userId)])) ?? [];
    return current === version;
  }

  /** Token and version come from one snapshot: what changes either afterwards makes the version another one. */
  async #load(hash: Buffer, key: string): Promise<Known | undefined> {
    const { rows } = await this.#pool.query<TokenRow>({
      name: "api-token-load",
      text: `
        select t.id, t.user_id, t.scopes, t.expires_at, u.role, coalesce(v.version, 0) as version
        from api_tokens t join users u on u.id = t.user_id
        left join cache_versions v on v.topic = 'account' and v.owner = t.user_id
        where t.token_hash = $1 and u.disabled_at is null and ${LIVE}`,
      values: [hash],
    });
    const noteUseAt = this.#known.get(key)?.noteUseAt ?? -Infinity;
    this.#known.delete(key);
    const row = rows[0];
    if (row === undefined) return undefined;
    const known = { state: toState(row), version: row.version, noteUseAt };
    this.#known.set(key, known);
    if (this.#known.size > MAX_KNOWN) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    return known;
  }

  /** Nobody waits for it; should it fail, a later use is noted. */
  #noteUse(known: Known): void {
    const now = performance.now();
    if (now < known.noteUseAt) return;
    known.noteUseAt = now + NOTE_USE_EVERY_MS;
    this.#pool
      .query({
        name: "api-token-used",
        text: `
          update api_tokens set last_used_at = now()
          where id = $1 and (last_used_at is null or last_used_at < now() - make_interval(secs => $2))`,
        values: [known.state.id, NOTE_USE_EVERY_MS / 1000],
      })
      .catch(() => undefined);
  }
}

/** In a transaction that locks the account first. */
export async function revokeTokens(client: pg.ClientBase, userId: string): Promise<void> {
  await client.query("update api_tokens set revoked_at = now() where user_id = $1 and revoked_at is null", [
    userId,
  ]);
}

interface TokenRow {
  id: string;
  user_id: string;
  scopes: TokenScope[];
  expires_at: Date | null;
  role: UserRole;
  version: number;
}

const toState = (row: TokenRow): TokenState => ({
  id: row.id,
  userId: row.user_id,
  role: row.role,
  scopes: row.scopes,
  expiresAt: row.expires_at?.getTime() ?? null,
});
