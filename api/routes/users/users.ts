import Router from "@koa/router";
import { mount } from "../../middleware/endpoint.js";
import { assertCanSeeProfile } from "../../policies/users.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { presentProfile, presentUser } from "./presenter.js";
import { showMe, showUser } from "./schema.js";

export function usersRouter({ users }: Pick<AppDeps, "users">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, showMe, async (ctx, { caller }) => {
    ctx.body = presentUser(await users.find(caller.userId));
  });

  mount(router, showUser, async (ctx, { params, caller }) => {
    const user = await users.find(params.id);
    assertCanSeeProfile(caller.userId, user);
    ctx.body = user.id === caller.userId ? presentUser(user) : presentProfile(user);
  });

  return router;
}
