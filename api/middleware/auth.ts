/** Who sends a request: koa-jwt checks the access token, the session decides whether it still works. */
import koaJwt from "koa-jwt";
import type Koa from "koa";
import { ACCESS_TOKEN, readClaims } from "../../services/auth/accessTokens.js";
import type { AuthService } from "../../services/auth/AuthService.js";
import { UnauthorizedError } from "../../utils/errors.js";
import type { AppContext, AppMiddleware, Caller } from "../types.js";

/**
 * Gives requests their `ctx.state.authenticate`; `mount` calls it for endpoints that need a user. It throws
 * `UnauthorizedError`, or what the session store throws when nobody can tell (503): a database that is
 * away must not log anybody out, which is why the session is asked outside koa-jwt, whose every error is 401.
 */
export function authentication(auth: AuthService): AppMiddleware {
  const verify = verifier(auth);
  return (ctx, next) => {
    ctx.state.authenticate = async () => {
      const claims = readClaims(await verify(ctx), Date.now() / 1000);
      const session = claims === null ? null : await auth.findSession(claims);
      if (claims === null || session === null) throw new UnauthorizedError();
      return {
        userId: session.userId,
        role: session.role,
        sessionId: claims.sessionId,
        scopes: null,
      } satisfies Caller;
    };
    return next();
  };
}

/** Verifies signature, issuer, audience and dates; gives the decoded token, or undefined when it fails. */
function verifier(auth: AuthService): (ctx: AppContext) => Promise<unknown> {
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
    // Node keeps the first of several headers; which one a proxy in front believed, nobody knows.
    if ((ctx.req.headersDistinct["authorization"]?.length ?? 0) !== 1) return undefined;
    const state: { jwt?: unknown } = {};
    await jwt(Object.assign(Object.create(ctx) as Koa.Context, { state }), () => Promise.resolve());
    return state.jwt;
  };
}
