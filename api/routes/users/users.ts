import { finished } from "node:stream/promises";
import Router from "@koa/router";
import type { AccountChanges } from "../../../services/users/UserService.js";
import { NotFoundError, TooManyRequestsError } from "../../../utils/errors.js";
import { mount } from "../../middleware/endpoint.js";
import { assertMatch, sendResource } from "../../middleware/entityTags.js";
import { assertCanSeeProfile } from "../../policies/users.js";
import type { AppContext, AppDeps, AppRouter } from "../../types.js";
import { UserSlots } from "../../userSlots.js";
import { presentProfile, presentUser } from "./presenter.js";
import {
  changeMe,
  changeUser,
  eraseMe,
  exportMe,
  giveRole,
  replaceMe,
  replaceUser,
  showMe,
  showUser,
} from "./schema.js";

const EXPORTS_AT_ONCE = 2;
const RETRY_AFTER_SECONDS = 30;
/** A client that takes nothing for so long holds its place for nothing. */
const STALLED_MS = 60_000;

type Deps = Pick<AppDeps, "auth" | "users" | "exports">;

export function usersRouter({ auth, users, exports }: Deps): AppRouter {
  const router: AppRouter = new Router();
  const slots = new UserSlots(EXPORTS_AT_ONCE, () => {
    const message = `At most ${EXPORTS_AT_ONCE} exports at once`;
    return new TooManyRequestsError(RETRY_AFTER_SECONDS, message, "too_many_exports");
  });

  const change = async (ctx: AppContext, id: string, changes: AccountChanges): Promise<void> => {
    const user = await users.change(id, changes, (current) => assertMatch(ctx, presentUser(current)));
    sendResource(ctx, presentUser(user));
  };

  mount(router, showMe, async (ctx, { caller }) => {
    ctx.body = presentUser(await users.find(caller.userId));
  });

  mount(router, showUser, async (ctx, { params, caller }) => {
    const user = await users.find(params.id);
    assertCanSeeProfile(caller.userId, user);
    ctx.body = user.id === caller.userId ? presentUser(user) : presentProfile(user);
  });

  mount(router, replaceMe, (ctx, { caller, body }) => change(ctx, caller.userId, body));
  mount(router, changeMe, (ctx, { caller, body }) => change(ctx, caller.userId, body));
  mount(router, replaceUser, (ctx, { params, caller, body }) => change(ctx, own(params.id, caller), body));
  mount(router, changeUser, (ctx, { params, caller, body }) => change(ctx, own(params.id, caller), body));

  mount(router, giveRole, async (ctx, { params, caller, body }) => {
    ctx.body = await users.changeRole(caller.userId, params.id, body.role);
  });

  mount(router, eraseMe, async (ctx, { caller, body }) => {
    await auth.confirmPassword(caller.userId, body.password);
    await users.erase(caller.userId);
    ctx.status = 202;
    ctx.body = { status: "erasing" };
  });

  mount(router, exportMe, async (ctx, { caller }) => {
    const free = slots.take(caller.userId);
    try {
      const { filename, archive } = await exports.open(caller.userId);
      void finished(archive).then(free, free);
      ctx.type = "application/zip";
      ctx.attachment(filename);
      ctx.res.setTimeout(STALLED_MS, () => ctx.res.destroy());
      ctx.body = archive;
    } catch (error) {
      free();
      throw error;
    }
  });

  return router;
}

/** Nobody but the owner changes an account: for everybody else there is nothing to change at this address. */
function own(id: string, { userId }: { readonly userId: string }): string {
  if (id !== userId) throw new NotFoundError();
  return id;
}
