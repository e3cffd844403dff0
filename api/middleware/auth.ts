/**
 * Who sends a request. A bearer credential is either the access token of a session (a JWT: koa-jwt checks it, the
 * session decides whether it still works) or a personal API token.
 */
import type { IncomingMessage } from "node:http";
import koaJwt from "koa-jwt";
import type Koa from "koa";
import { ACCESS_TOKEN, type AccessClaims, readClaims } from "../../services/auth/accessTokens.js";
import { looksLikeApiToken } from "../../services/auth/ApiTokenStore.js";
import type { AuthService } from "../../services/auth/AuthService.js";
import type { SessionState } from "../../services/auth/sessionRows.js";
import { BoundedMap } from "../../services/limits/BoundedMap.js";
import { UnauthorizedError } from "../../utils/errors.js";
import type { AppContext, AppMiddleware, Caller } from "../types.js";

const BEARER = /^bearer +(\S+)$/i;

/** Who sends requests. */
export class Authentication {
  readonly #auth: AuthService;
  readonly #verifier: Verifier;

  constructor(auth: AuthService) {
    this.#auth = auth;
    this.#verifier = new Verifier(auth);
  }

  /** Of a token and a session that this process knows; undefined when somebody else has to be asked. */
  known({ req }: AppContext): Caller | undefined {
    const credential = credentialOf(req);
    const claims = credential === undefined ? undefined : this.#verifier.known(credential);
    const session = claims === undefined ? undefined : this.#auth.knownSession(claims);
    return claims === undefined || session === undefined ? undefined : callerOf(claims, session);
  }

  /**
   * Throws `UnauthorizedError`, or what the stores of sessions and tokens throw when nobody can tell (503): a database that
   * is away must not log anybody out, which is why they are asked outside koa-jwt, whose every error is 401.
   */
  async authenticate(ctx: AppContext): Promise<Caller> {
    const credential = credentialOf(ctx.req);
    if (credential === undefined) throw new UnauthorizedError();
    const caller = await (looksLikeApiToken(credential)
      ? this.#byToken(credential)
      : this.#bySession(ctx, credential));
    if (caller === null) throw new UnauthorizedError();
    return caller;
  }

  async #bySession(ctx: AppContext, credential: string): Promise<Caller | null> {
    const claims = await this.#verifier.verify(ctx, credential);
    const session = claims === null ? null : await this.#auth.findSession(claims);
    return claims === null || session === null ? null : callerOf(claims, session);
  }

  async #byToken(credential: string): Promise<Caller | null> {
    const token = await this.#auth.tokens.find(credential);
    if (token === null) return null;
    const { userId, role, id, scopes } = token;
    return { userId, role, sessionId: null, tokenId: id, scopes };
  }
}

/** Gives requests their `ctx.state.authentication`; `mount` asks it for endpoints that need a user. */
export function authentication(auth: AuthService): AppMiddleware {
  const shared = new Authentication(auth);
  return (ctx, next) => {
    ctx.state.authentication = shared;
    return next();
  };
}

const callerOf = ({ sessionId }: AccessClaims, { userId, role }: SessionState): Caller => ({
  userId,
  role,
  sessionId,
  tokenId: null,
  scopes: null,
});

const HEADER = "authorization";

/** Node keeps the first of several headers; which one a proxy in front believed, nobody knows. */
function credentialOf({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const header = headers[HEADER];
  if (header === undefined) return undefined;
  let times = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === HEADER.length && name.toLowerCase() === HEADER) times += 1;
  }
  return times === 1 ? BEARER.exec(header)?.[1] : undefined;
}

/** Access tokens kept as verified, about 600 bytes each. */
const MAX_VERIFIED = 10_000;

/** What a token says, and until when (Unix seconds). */
interface Verified {
  readonly claims: AccessClaims;
  readonly until: number;
}

/**
 * A client sends its token with every request and the keys stay the same, so a token that was found good is not computed
 * again until it ends.
 */
class Verifier {
  readonly #decode: (ctx: AppContext) => Promise<unknown>;
  readonly #verified = new BoundedMap<string, Verified>(MAX_VERIFIED);

  constructor(auth: AuthService) {
    this.#decode = decoder(auth);
  }

  /** Of a token that was verified and has not ended. */
  known(credential: string): AccessClaims | undefined {
    const found = this.#verified.get(credential);
    return found !== undefined && Date.now() / 1000 < found.until ? found.claims : undefined;
  }

  /** Verifies signature, issuer, audience, dates and form; null when something is wrong. */
  async verify(ctx: AppContext, credential: string): Promise<AccessClaims | null> {
    const known = this.known(credential);
    if (known !== undefined) return known;
    const decoded = await this.#decode(ctx);
    const claims = readClaims(decoded, Date.now() / 1000);
    if (claims === null) return null;
    // readClaims has seen that it is there, and no longer than it may be.
    const { exp } = (decoded as { readonly payload: { readonly exp: number } }).payload;
    this.#verified.set(credential, { claims, until: exp + ACCESS_TOKEN.clockToleranceSeconds });
    return claims;
  }
}

/** Checks signature, issuer, audience and dates; gives the decoded token, or undefined when one is wrong. */
function decoder(auth: AuthService): (ctx: AppContext) => Promise<unknown> {
  const options = {
    // KeyObjects; koa-jwt's types name strings and Buffers only, but it hands secrets to jsonwebtoken as they are.
    secret: [...auth.keys.accepted] as unknown as Buffer[],
    algorithms: [ACCESS_TOKEN.algorithm],
    issuer: ACCESS_TOKEN.issuer,
    audience: ACCESS_TOKEN.audience,
    maxAge: ACCESS_TOKEN.lifetimeSeconds,
    clockTolerance: ACCESS_TOKEN.clockToleranceSeconds,
    complete: true,
    key: "jwt",
    passthrough: true, // no error of its own: ctx.state.jwt stays empty
  };
  const jwt = koaJwt(options);
  return async (ctx) => {
    const state: { jwt?: unknown } = {};
    await jwt(Object.assign(Object.create(ctx) as Koa.Context, { state }), () => Promise.resolve());
    return state.jwt;
  };
}
