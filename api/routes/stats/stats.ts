import Router from "@koa/router";
import type { StatsService } from "../../../services/stats/StatsService.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppRouter } from "../../types.js";
import { presentActivity, presentSummary, presentTop } from "./presenter.js";
import { listActivity, showSummary, topAlbums, topArtists, topTracks } from "./schema.js";

export function statsRouter({ stats }: { readonly stats: StatsService }): AppRouter {
  const router: AppRouter = new Router();

  mount(router, showSummary, async (ctx, { caller, query }) => {
    ctx.body = presentSummary(await stats.summary(caller.userId, query));
  });

  for (const [declaration, kind] of [
    [topArtists, "artist"],
    [topAlbums, "album"],
    [topTracks, "track"],
  ] as const) {
    mount(router, declaration, async (ctx, { caller, query }) => {
      ctx.type = "application/json";
      ctx.body = Buffer.from(presentTop(await stats.top(caller.userId, kind, query)));
    });
  }

  mount(router, listActivity, async (ctx, { caller, query }) => {
    ctx.body = presentActivity(await stats.activity(caller.userId, query));
  });

  return router;
}
