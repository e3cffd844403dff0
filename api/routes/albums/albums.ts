import Router from "@koa/router";
import { presentPage, sendCreated, sendFound, unchanged } from "../../catalogue/answers.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { ALBUM, presentAlbumSummary } from "./presenter.js";
import { createAlbum, listAlbums, mergeAlbum, patchAlbum, PATH, replaceAlbum, showAlbum } from "./schema.js";

export function albumsRouter({ catalogue }: Pick<AppDeps, "catalogue">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listAlbums, async (ctx, { query }) => {
    ctx.body = presentPage(await catalogue.listAlbums(query), presentAlbumSummary);
  });

  mount(router, createAlbum, async (ctx, { body }) => {
    sendCreated(ctx, PATH, await catalogue.createAlbum(body), ALBUM);
  });

  mount(router, showAlbum, async (ctx, { params }) => {
    sendFound(ctx, PATH, await catalogue.findAlbum(params.id), ALBUM);
  });

  mount(router, replaceAlbum, async (ctx, { params, body }) => {
    const changed = await catalogue.editAlbum(params.id, body, unchanged(ctx, ALBUM));
    sendFound(ctx, PATH, changed, ALBUM);
  });

  mount(router, patchAlbum, async (ctx, { params, body }) => {
    const changed = await catalogue.editAlbum(params.id, body, unchanged(ctx, ALBUM));
    sendFound(ctx, PATH, changed, ALBUM);
  });

  mount(router, mergeAlbum, async (ctx, { params, body }) => {
    const merged = await catalogue.mergeAlbum(params.id, body.into, unchanged(ctx, ALBUM));
    sendFound(ctx, PATH, merged, ALBUM, "/merge");
  });

  return router;
}
