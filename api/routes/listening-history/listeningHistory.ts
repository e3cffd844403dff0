import Router from "@koa/router";
import type { HistoryEditor } from "../../../services/history/HistoryEditor.js";
import type { HistoryService } from "../../../services/history/HistoryService.js";
import { keepOutOfCache } from "../../middleware/cache.js";
import { mount } from "../../middleware/endpoint.js";
import { assertMatch, sendResource } from "../../middleware/entityTags.js";
import type { AppContext, AppRouter } from "../../types.js";
import { judgeListen, toChanges, toPlay, toReplacement } from "./input.js";
import { presentBatch, presentPage } from "./presenter.js";
import {
  changeListen,
  deleteListen,
  listListens,
  recordListen,
  recordListens,
  replaceListen,
  showListen,
  unlinkListen,
} from "./schema.js";

export interface ListeningHistoryDeps {
  readonly history: HistoryService;
  readonly historyEditor: HistoryEditor;
}

export function listeningHistoryRouter({ history, historyEditor }: ListeningHistoryDeps): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listListens, async (ctx, { caller, query }) => {
    sendJson(ctx, presentPage(await history.list(caller.userId, query)));
  });

  mount(router, recordListen, async (ctx, { caller, body }) => {
    const { created, id, item } = await historyEditor.record(caller.userId, toPlay(body));
    if (created) ctx.set("Location", recordListen.path + `/${id}`);
    sendResource(ctx, item, created ? 201 : 200);
  });

  mount(router, recordListens, async (ctx, { caller, body }) => {
    const judged = body.listens.map((item, index) => judgeListen(item, index));
    const plays = judged.flatMap((each) => ("play" in each ? [each.play] : []));
    ctx.body = presentBatch(judged, await historyEditor.recordMany(caller.userId, plays));
  });

  mount(router, showListen, async (ctx, { caller, params }) => {
    const { item, own } = await history.find(caller.userId, params.id);
    if (!own) keepOutOfCache(ctx); // its owner's changes do not move the versions in the key
    sendJson(ctx, item);
  });

  mount(router, replaceListen, async (ctx, { caller, params, body }) => {
    sendResource(ctx, await historyEditor.edit(caller.userId, params.id, toReplacement(body), matching(ctx)));
  });

  mount(router, changeListen, async (ctx, { caller, params, body }) => {
    sendResource(ctx, await historyEditor.edit(caller.userId, params.id, toChanges(body), matching(ctx)));
  });

  mount(router, deleteListen, async (ctx, { caller, params }) => {
    await historyEditor.remove(caller.userId, params.id, matching(ctx));
    ctx.status = 204;
  });

  mount(router, unlinkListen, async (ctx, { caller, params }) => {
    sendResource(ctx, await historyEditor.unlink(caller.userId, params.id, matching(ctx)));
  });

  return router;
}

const matching =
  (ctx: AppContext) =>
  (current: string): void =>
    assertMatch(ctx, current);

/** Koa measures a string again for its length; bytes go out as they are. */
function sendJson(ctx: AppContext, json: string): void {
  ctx.type = "application/json";
  ctx.body = Buffer.from(json);
}
