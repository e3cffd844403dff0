import Router from "@koa/router";
import { presentPage, sendCreated, sendFound } from "../../catalogue/answers.js";
import { mount } from "../../middleware/endpoint.js";
import { assertMatch } from "../../middleware/entityTags.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { presentAlbum, presentAlbumSummary } from "./presenter.js";
import { createAlbum, listAlbums, mergeAlbum, patchAlbum, PATH, replaceAlbum, showAlbum } from "./schema.js";

export function albumsRouter({ catalogue }: Pick<AppDeps, "catalogue">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listAlbums, async (ctx, { query }) => {
    ctx.body = presentPage(await catalogue.listAlbums(query), presentAlbumSummary);
  });

  mount(router, createAlbum, async (ctx, { body }) => {
    sendCreated(ctx, PATH, await catalogue.createAlbum(body), presentAlbum);
  });

  mount(router, showAlbum, async (ctx, { params }) => {
    sendFound(ctx, PATH, await catalogue.findAlbum(params.id), presentAlbum);
  });

  mount(router, replaceAlbum, async (ctx, { params, body }) => {
    const changed = await catalogue.editAlbum(params.id, body, (current) =>
      assertMatch(ctx, presentAlbum(current)),
    );
    sendFound(ctx, PATH, changed, presentAlbum);
  });

  mount(router, patchAlbum, async (ctx, { params, body }) => {
    const changed = await catalogue.editAlbum(params.id, body, (current) =>
      assertMatch(ctx, presentAlbum(current)),
    );
    sendFound(ctx, PATH, changed, presentAlbum);
  });

  mount(router, mergeAlbum, async (ctx, { params, body }) => {
    const merged = await catalogue.mergeAlbum(params.id, body.into, (current) =>
      assertMatch(ctx, presentAlbum(current)),
    );
    sendFound(ctx, PATH, merged, presentAlbum, "/merge");
  });

  return router;
}
