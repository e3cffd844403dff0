/** Accounts and their sessions: register, log in, refresh, log out, and who a token belongs to. */
import { uuidv7 } from "../../utils/uuid.js";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import { brokenConstraint } from "../../db/errors.js";
import type { Database } from "../../db/knex.js";
import { User } from "../../db/models/User.js";
import { ConflictError, type ErrorDetail, ForbiddenError, UnauthorizedError } from "../../utils/errors.js";
import type { Logger } from "../../utils/logger.js";
import { ACCESS_TOKEN, type AccessClaims, signAccessToken } from "./accessTokens.js";
import type { PasswordHasher } from "./passwords.js";
import { isGenuine, parseRefreshToken, refreshToken } from "./refreshTokens.js";
import type { OpenSession, SessionState, SessionStore } from "./SessionStore.js";
import type { SigningKeys } from "./signingKeys.js";

export interface Registration {
  readonly email: string;
  readonly username: string;
  readonly password: string;
  readonly displayName?: string | null;
}

/** What a client keeps to stay logged in. */
export interface Credentials {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** Seconds until the access token expires. */
  readonly expiresIn: number;
}

export interface LoggedIn extends Credentials {
  readonly user: User;
}

export interface AuthServiceOptions {
  readonly database: Database;
  readonly sessions: SessionStore;
  readonly passwords: PasswordHasher;
  readonly keys: SigningKeys;
  readonly registration: "open" | "closed";
  readonly log: Logger;
}

const TAKEN = {
  users_email_once: { path: "email", code: "taken", message: "This e-mail address has an account" },
  users_username_once: { path: "username", code: "taken", message: "This user name is taken" },
} as const satisfies Record<string, ErrorDetail>;

export class AuthService {
  /** What signs access tokens, and what the api accepts. */
  readonly keys: SigningKeys;
  readonly #database: Database;
  readonly #sessions: SessionStore;
  readonly #passwords: PasswordHasher;
  readonly #registration: "open" | "closed";
  readonly #log: Logger;

  constructor({ database, sessions, passwords, keys, registration, log }: AuthServiceOptions) {
    this.#database = database;
    this.#sessions = sessions;
    this.#passwords = passwords;
    this.keys = keys;
    this.#registration = registration;
    this.#log = log;
  }

  /**
   * The first account becomes admin. Throws `ForbiddenError("registration_closed")`, `ConflictError("taken")` naming
   * each field, `UnavailableError("busy")`.
   */
  async register(registration: Registration, userAgent: string | null): Promise<LoggedIn> {
    if (this.#registration === "closed") {
      throw new ForbiddenError("This server takes no new accounts", "registration_closed");
    }
    await this.#refuseTaken(registration);
    const passwordHash = await this.#passwords.hash(registration.password);
    const user = await this.#insert(registration, passwordHash);
    this.#log.info("account created", { userId: user.id, role: user.role });
    return this.#logIn(user, userAgent);
  }

  /** `login` is an e-mail address or a user name. One error for everything that can be wrong, at one pace. */
  async login(login: string, password: string, userAgent: string | null): Promise<LoggedIn> {
    const column = login.includes("@") ? "email" : "username";
    const user = await User.query(this.#database.knex).whereRaw(`lower(${column}) = lower(?)`, login).first();
    const correct = await this.#passwords.verify(password, user?.passwordHash ?? null);
    if (user === undefined || !correct || user.disabledAt !== null) {
      throw new UnauthorizedError("The login or the password is wrong", "bad_credentials");
    }
    return this.#logIn(user, userAgent);
  }

  /**
   * New tokens for a refresh token. The token before the current one gets the current one again for a short while,
   * so that a lost answer or a second tab logs nobody out; an older one ends the session.
   */
  async refresh(token: string): Promise<Credentials> {
    const parsed = parseRefreshToken(token);
    const opened = parsed === null ? null : await this.#sessions.open(parsed.sessionId);
    if (parsed === null || opened === null || !isGenuine(parsed, opened.refreshKey)) throw badRefreshToken();
    const rotation = await this.#sessions.rotate(parsed.sessionId, parsed.counter);
    switch (rotation.outcome) {
      case "rotated":
      case "repeated":
        return this.#credentials(rotation.session);
      case "reused":
        this.#log.warn("spent refresh credential presented; session revoked", {
          sessionId: opened.id,
          userId: opened.userId,
        });
        throw badRefreshToken();
      case "ended":
        throw badRefreshToken();
    }
  }

  /** The access token and every refresh token of this session stop working now, on every process. */
  async logout(sessionId: string): Promise<void> {
    await this.#sessions.revoke(sessionId, "logout");
  }

  /** The session these claims name, or null when it does not work (any more). Throws when nobody can tell. */
  findSession(claims: AccessClaims): Promise<SessionState | null> {
    return this.#sessions.find(claims);
  }

  async #logIn(user: User, userAgent: string | null): Promise<LoggedIn> {
    const session = await this.#sessions.create(user.id, userAgent);
    return { user, ...this.#credentials(session) };
  }

  #credentials({ id, userId, counter, refreshKey }: OpenSession): Credentials {
    return {
      accessToken: signAccessToken(this.keys, { userId, sessionId: id }),
      refreshToken: refreshToken(refreshKey, id, counter),
      expiresIn: ACCESS_TOKEN.lifetimeSeconds,
    };
  }

  /** Before any hashing, and for both fields at once; the unique indexes decide all the same. */
  async #refuseTaken({ email, username }: Registration): Promise<void> {
    const found = await User.query(this.#database.knex)
      .select("email", "username")
      .whereRaw("lower(email) = lower(?) or lower(username) = lower(?)", [email, username]);
    const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
    const taken = [
      ...(found.some((user) => same(user.email, email)) ? [TAKEN.users_email_once] : []),
      ...(found.some((user) => same(user.username, username)) ? [TAKEN.users_username_once] : []),
    ];
    if (taken.length > 0) throw conflict(taken);
  }

  async #insert({ email, username, displayName }: Registration, passwordHash: string): Promise<User> {
    try {
      return await User.transaction(this.#database.knex, async (trx) => {
        await trx.raw("select pg_advisory_xact_lock(?)", [ADVISORY_LOCKS.firstAccount]);
        const others = await User.query(trx).select("id").limit(1);
        return User.query(trx).insertAndFetch({
          id: uuidv7(),
          email,
          username,
          passwordHash,
          displayName: displayName ?? null,
          role: others.length === 0 ? "admin" : "user",
        });
      });
    } catch (error) {
      const constraint = brokenConstraint(error);
      if (constraint !== null && constraint in TAKEN)
        throw conflict([TAKEN[constraint as keyof typeof TAKEN]]);
      throw error;
    }
  }
}

const conflict = (details: readonly ErrorDetail[]): ConflictError =>
  new ConflictError("taken", details.map(({ message }) => message).join(". "), details);

const badRefreshToken = (): UnauthorizedError =>
  new UnauthorizedError("This refresh token does not work (any more); log in again", "bad_refresh_token");
