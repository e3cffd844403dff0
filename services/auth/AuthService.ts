/** Accounts and their sessions: register, log in, refresh, log out, change the password, and who a token belongs to. */
import { uuidv7 } from "../../utils/uuid.js";
import { ADVISORY_LOCKS } from "../../db/advisoryLocks.js";
import type { Database } from "../../db/knex.js";
import { User } from "../../db/models/User.js";
import { ForbiddenError, NotFoundError, UnauthorizedError } from "../../utils/errors.js";
import type { Logger } from "../../utils/logger.js";
import { refuseTaken, takenErrorOf } from "../users/taken.js";
import { ACCESS_TOKEN, type AccessClaims, signAccessToken } from "./accessTokens.js";
import { type ApiTokenStore, revokeTokens } from "./ApiTokenStore.js";
import { isOpenInvite, redeemInvite } from "./invites.js";
import type { PasswordHasher } from "./passwords.js";
import { isGenuine, parseRefreshToken, refreshToken } from "./refreshTokens.js";
import type { OpenSession, ProvenOwner, SessionState, SessionView } from "./sessionRows.js";
import type { SessionStore } from "./SessionStore.js";
import type { SigningKeys } from "./signingKeys.js";

export interface Registration {
  readonly email: string;
  readonly username: string;
  readonly password: string;
  readonly displayName?: string | null;
  /** Code of an invite; used up by the account. */
  readonly invite?: string;
}

/** `invite`: only with the code of an invite. */
export type RegistrationMode = "open" | "invite" | "closed";

export interface PasswordChange {
  readonly currentPassword: string;
  readonly newPassword: string;
  /** False: personal API tokens end, too. */
  readonly keepTokens: boolean;
}

/** What a request came with: one of the two ids is set. */
export interface Proof {
  readonly userId: string;
  readonly sessionId: string | null;
  readonly tokenId: string | null;
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
  readonly tokens: ApiTokenStore;
  readonly passwords: PasswordHasher;
  readonly keys: SigningKeys;
  readonly registration: RegistrationMode;
  readonly log: Logger;
}

export class AuthService {
  /** What signs tokens, and what the api accepts. */
  readonly keys: SigningKeys;
  /** Personal API tokens. */
  readonly tokens: ApiTokenStore;
  readonly #database: Database;
  readonly #sessions: SessionStore;
  readonly #passwords: PasswordHasher;
  readonly #registration: RegistrationMode;
  readonly #log: Logger;

  constructor({ database, sessions, tokens, passwords, keys, registration, log }: AuthServiceOptions) {
    this.#database = database;
    this.#sessions = sessions;
    this.tokens = tokens;
    this.#passwords = passwords;
    this.keys = keys;
    this.#registration = registration;
    this.#log = log;
  }

  /**
   * The first account becomes admin. Throws `ForbiddenError` (`registration_closed`, `invite_required`,
   * `invite_invalid`), `ConflictError("taken")` naming each field, `UnavailableError("busy")`.
   */
  async register(registration: Registration, userAgent: string | null): Promise<LoggedIn> {
    // Before anything is said about names that are taken, and before any hashing.
    await this.#refuseUninvited(registration.invite);
    await refuseTaken(this.#database.knex, registration); // before any hashing
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
      throw badCredentials();
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
    if (parsed === null || opened === null || !isGenuine(parsed, this.keys, opened)) throw badRefreshToken();
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

  /** As `logout`, for every session of this account. Personal API tokens go on. */
  async logoutAll(userId: string): Promise<void> {
    await this.#sessions.endAll(userId, "logout_all");
  }

  /** Those that work, last used first. */
  listSessions(userId: string): Promise<readonly SessionView[]> {
    return this.#sessions.list(userId);
  }

  /** Throws `NotFoundError` when no session of this account with this id works. */
  async endSession(userId: string, sessionId: string): Promise<void> {
    if (!(await this.#sessions.end(userId, sessionId, "ended"))) throw new NotFoundError();
  }

  /**
   * Ends every session of the account and begins a new one, for whoever changed the password. Throws
   * `ForbiddenError("wrong_password")`, `UnavailableError("busy")`.
   */
  async changePassword(
    userId: string,
    { currentPassword, newPassword, keepTokens }: PasswordChange,
    userAgent: string | null,
  ): Promise<Credentials> {
    const owner = await this.confirmPassword(userId, currentPassword);
    const passwordHash = await this.#passwords.hash(newPassword);
    const session = await this.#sessions.replaceAll(owner, userAgent, "password_changed", async (client) => {
      if (!keepTokens) await revokeTokens(client, userId);
      await client.query("update users set password_hash = $2 where id = $1", [userId, passwordHash]);
    });
    if (session === null) throw wrongPassword(); // somebody else was faster
    this.#log.info("secret of an account changed", { userId });
    return this.#credentials(session);
  }

  /**
   * For what a session alone is not enough to do. Throws `ForbiddenError("wrong_password")`, which says nothing against
   * the session itself, and `UnavailableError("busy")`.
   */
  async confirmPassword(userId: string, password: string): Promise<ProvenOwner> {
    const user = await User.query(this.#database.knex).findById(userId).modify("enabled");
    const correct = await this.#passwords.verify(password, user?.passwordHash ?? null);
    if (user === undefined || !correct) throw wrongPassword();
    return user;
  }

  /** The session these claims name, or null when it does not work (any more). Throws when nobody can tell. */
  findSession(claims: AccessClaims): Promise<SessionState | null> {
    return this.#sessions.find(claims);
  }

  /** The same out of memory; undefined when that does not tell. */
  knownSession(claims: AccessClaims): SessionState | undefined {
    return this.#sessions.known(claims);
  }

  /** Whether what a request came with, perhaps long ago, still works. Throws when nobody can tell. */
  async works({ userId, sessionId, tokenId }: Proof): Promise<boolean> {
    if (sessionId !== null) return (await this.#sessions.find({ userId, sessionId })) !== null;
    return tokenId !== null && this.tokens.works(userId, tokenId);
  }

  async #logIn(user: User, userAgent: string | null): Promise<LoggedIn> {
    const session = await this.#sessions.create(user, userAgent);
    if (session === null) throw badCredentials(); // switched off, or given another password, a moment ago
    return { user, ...this.#credentials(session) };
  }

  #credentials(session: OpenSession): Credentials {
    const { id, userId, counter } = session;
    return {
      accessToken: signAccessToken(this.keys, { userId, sessionId: id }),
      refreshToken: refreshToken(this.keys, session, counter),
      expiresIn: ACCESS_TOKEN.lifetimeSeconds,
    };
  }

  /** A code that is given has to be right, also where none is needed: else it could be used again. */
  async #refuseUninvited(code: string | undefined): Promise<void> {
    if (this.#registration === "closed") {
      throw new ForbiddenError("This server takes no new accounts", "registration_closed");
    }
    if (code === undefined && this.#registration === "invite") {
      throw new ForbiddenError("This server takes new accounts by invite only", "invite_required");
    }
    if (code !== undefined && !(await isOpenInvite(this.#database.pool, code))) throw badInvite();
  }

  async #insert({ email, username, displayName, invite }: Registration, passwordHash: string): Promise<User> {
    try {
      return await User.transaction(this.#database.knex, async (trx) => {
        await trx.raw("select pg_advisory_xact_lock(?)", [ADVISORY_LOCKS.firstAccount]);
        if (invite !== undefined && !(await redeemInvite(trx, invite))) throw badInvite();
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
      throw takenErrorOf(error) ?? error;
    }
  }
}

const badCredentials = (): UnauthorizedError =>
  new UnauthorizedError("The login or the password is wrong", "bad_credentials");

const wrongPassword = (): ForbiddenError => new ForbiddenError("The password is wrong", "wrong_password");

/** One for codes that never were, were used and are too old. */
const badInvite = (): ForbiddenError =>
  new ForbiddenError("This invite does not work (any more)", "invite_invalid");

const badRefreshToken = (): UnauthorizedError =>
  new UnauthorizedError("This refresh token does not work (any more); log in again", "bad_refresh_token");
