import Router from "@koa/router";
import type { Credentials, LoggedIn } from "../../../services/auth/AuthService.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppContext, AppDeps, AppRouter } from "../../types.js";
import { presentUser } from "../users/presenter.js";
import { login, logout, refresh, register } from "./schema.js";

const presentCredentials = ({ accessToken, refreshToken, expiresIn }: Credentials) => ({
  accessToken,
  refreshToken,
  tokenType: "Bearer",
  expiresIn,
});

const presentLogin = (loggedIn: LoggedIn) => ({
  user: presentUser(loggedIn.user),
  ...presentCredentials(loggedIn),
});

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
    await auth.logout(caller.sessionId);
    ctx.status = 204;
  });

  return router;
}
