import Router from "@koa/router";
import { NotFoundError, ValidationError } from "../../../utils/errors.js";
import { mount } from "../../middleware/endpoint.js";
import { sessionOf } from "../../policies/callers.js";
import type { AppContext, AppDeps, AppRouter } from "../../types.js";
import { presentApiToken, presentCredentials, presentLogin, presentSession } from "./presenter.js";
import {
  changePassword,
  createApiToken,
  endSession,
  listApiTokens,
  listSessions,
  login,
  logout,
  logoutAll,
  refresh,
  register,
  revokeApiToken,
} from "./schema.js";

const userAgent = (ctx: AppContext): string | null => ctx.get("User-Agent") || null;

export function authRouter({ auth }: Pick<AppDeps, "auth">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, register, async (ctx, { body }) => {
    ctx.body = presentLogin(await auth.register(body, userAgent(ctx)));
    ctx.status = 201;
    ctx.set("Cache-Control", "no-store");
  });

  mount(router, login, async (ctx, { body }) => {
    const name = body.login ?? body.email ?? body.username ?? "";
    ctx.body = presentLogin(await auth.login(name, body.password, userAgent(ctx)));
    ctx.set("Cache-Control", "no-store");
  });

  mount(router, refresh, async (ctx, { body }) => {
    ctx.body = presentCredentials(await auth.refresh(body.refreshToken));
    ctx.set("Cache-Control", "no-store");
  });

  mount(router, logout, async (ctx, { caller }) => {
    await auth.logout(sessionOf(caller));
    ctx.status = 204;
  });

  mount(router, logoutAll, async (ctx, { caller }) => {
    await auth.logoutAll(caller.userId);
    ctx.status = 204;
  });

  mount(router, listSessions, async (ctx, { caller }) => {
    const current = sessionOf(caller);
    const sessions = await auth.listSessions(caller.userId);
    ctx.body = { data: sessions.map((session) => presentSession(session, current)), nextCursor: null };
  });

  mount(router, endSession, async (ctx, { caller, params }) => {
    await auth.endSession(caller.userId, params.id);
    ctx.status = 204;
  });

  mount(router, changePassword, async (ctx, { caller, body }) => {
    ctx.body = presentCredentials(await auth.changePassword(caller.userId, body, userAgent(ctx)));
  });

  mountTokens(router, auth);
  return router;
}

function mountTokens(router: AppRouter, { tokens }: AppDeps["auth"]): void {
  mount(router, createApiToken, async (ctx, { caller, body }) => {
    refusePast(body.expiresAt);
    const { token, ...made } = await tokens.create(caller.userId, sessionOf(caller), body);
    ctx.body = { ...presentApiToken(made), token };
    ctx.status = 201;
  });

  mount(router, listApiTokens, async (ctx, { caller }) => {
    const found = await tokens.list(caller.userId);
    ctx.body = { data: found.map(presentApiToken), nextCursor: null };
  });

  mount(router, revokeApiToken, async (ctx, { caller, params }) => {
    if (!(await tokens.revoke(caller.userId, params.id))) throw new NotFoundError();
    ctx.status = 204;
  });
}

function refusePast(expiresAt: Date | null): void {
  if (expiresAt === null || expiresAt.getTime() > Date.now()) return;
  const message = "expiresAt must be in the future";
  throw new ValidationError(message, [{ path: "expiresAt", code: "out_of_range", message }]);
}
