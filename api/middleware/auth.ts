/**
 * Who sends a request. A bearer credential is either the access token of a session (a JWT: koa-jwt checks it, the
 * session decides whether it still works) or a personal API token.
 */
import koaJwt from "koa-jwt";
import type Koa from "koa";
import { ACCESS_TOKEN, type AccessClaims, readClaims } from "../../services/auth/accessTokens.js";
import { looksLikeApiToken } from "../../services/auth/ApiTokenStore.js";
import type { AuthService } from "../../services/auth/AuthService.js";
import { BoundedMap } from "../../services/limits/BoundedMap.js";
import { UnauthorizedError } from "../../utils/errors.js";
import type { AppContext, AppMiddleware, Caller } from "../types.js";

const BEARER = /^bearer +(\S+)$/i;

/**
 * Gives requests their `ctx.state.authenticate`; `mount` calls it for endpoints that need a user. It throws
 * `UnauthorizedError`, or what the stores of sessions and tokens throw when nobody can tell (503): a database that is
 * away must not log anybody out, which is why they are asked outside koa-jwt, whose every error is 401.
 */
export function authentication(auth: AuthService): AppMiddleware {
  const verify = verifier(auth);
  const bySession = async (ctx: AppContext, credential: string): Promise<Caller | null> => {
    const claims = await verify(ctx, credential);
    const session = claims === null ? null : await auth.findSession(claims);
    if (claims === null || session === null) return null;
    const { userId, role } = session;
    return { userId, role, sessionId: claims.sessionId, tokenId: null, scopes: null };
  };
  const byToken = async (credential: string): Promise<Caller | null> => {
    const token = await auth.tokens.find(credential);
    if (token === null) return null;
    const { userId, role, id, scopes } = token;
    return { userId, role, sessionId: null, tokenId: id, scopes };
  };
  return (ctx, next) => {
    ctx.state.authenticate = async () => {
      // Node keeps the first of several headers; which one a proxy in front believed, nobody knows.
      const [header, ...others] = ctx.req.headersDistinct["authorization"] ?? [];
      const credential = others.length > 0 ? undefined : BEARER.exec(header ?? "")?.[1];
      if (credential === undefined) throw new UnauthorizedError();
      const caller = await (looksLikeApiToken(credential) ? byToken(credential) : bySession(ctx, credential));
      if (caller === null) throw new UnauthorizedError();
      return caller;
    };
    return next();
  };
}

/** Access tokens kept as verified, about 600 bytes each. */
const MAX_VERIFIED = 10_000;

/** What a token says, and until when (Unix seconds). */
interface Verified {
  readonly claims: AccessClaims;
  readonly until: number;
}

/**
 * Verifies signature, issuer, audience, dates and form; null when something is wrong. A client sends its token with every
 * request and the keys stay the same, so a token that was found good is not computed again until it ends.
 */
function verifier(auth: AuthService): (ctx: AppContext, credential: string) => Promise<AccessClaims | null> {
  const decode = decoder(auth);
  const verified = new BoundedMap<string, Verified>(MAX_VERIFIED);
  return async (ctx, credential) => {
    const now = Date.now() / 1000;
    const known = verified.get(credential);
    if (known !== undefined && now < known.until) return known.claims;
    const decoded = await decode(ctx);
    const claims = readClaims(decoded, now);
    if (claims === null) return null;
    // readClaims has seen that it is there, and no longer than it may be.
    const { exp } = (decoded as { readonly payload: { readonly exp: number } }).payload;
    verified.set(credential, { claims, until: exp + ACCESS_TOKEN.clockToleranceSeconds });
    return claims;
  };
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
