import Router from "@koa/router";
import type { HistoryService } from "../../../services/history/HistoryService.js";
import { keepOutOfCache } from "../../middleware/cache.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppContext, AppRouter } from "../../types.js";
import { presentPage } from "./presenter.js";
import { listListens, showListen } from "./schema.js";

export function listeningHistoryRouter({ history }: { readonly history: HistoryService }): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listListens, async (ctx, { caller, query }) => {
    sendJson(ctx, presentPage(await history.list(caller.userId, query)));
  });

  mount(router, showListen, async (ctx, { caller, params }) => {
    const { item, own } = await history.find(caller.userId, params.id);
    if (!own) keepOutOfCache(ctx); // its owner's changes do not move the versions in the key
    sendJson(ctx, item);
  });

  return router;
}

/** Koa measures a string again for its length; bytes go out as they are. */
function sendJson(ctx: AppContext, json: string): void {
  ctx.type = "application/json";
  ctx.body = Buffer.from(json);
}
