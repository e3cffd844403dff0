import Router from "@koa/router";
import { presentPage, sendCreated, sendFound, unchanged } from "../../catalogue/answers.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { ARTIST, presentArtistSummary } from "./presenter.js";
import {
  createArtist,
  listArtists,
  mergeArtist,
  patchArtist,
  PATH,
  replaceArtist,
  showArtist,
} from "./schema.js";

export function artistsRouter({ catalogue }: Pick<AppDeps, "catalogue">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listArtists, async (ctx, { query }) => {
    ctx.body = presentPage(await catalogue.listArtists(query), presentArtistSummary);
  });

  mount(router, createArtist, async (ctx, { body }) => {
    sendCreated(ctx, PATH, await catalogue.createArtist(body), ARTIST);
  });

  mount(router, showArtist, async (ctx, { params }) => {
    sendFound(ctx, PATH, await catalogue.findArtist(params.id), ARTIST);
  });

  mount(router, replaceArtist, async (ctx, { params, body }) => {
    const changed = await catalogue.editArtist(params.id, body, unchanged(ctx, ARTIST));
    sendFound(ctx, PATH, changed, ARTIST);
  });

  mount(router, patchArtist, async (ctx, { params, body }) => {
    const changed = await catalogue.editArtist(params.id, body, unchanged(ctx, ARTIST));
    sendFound(ctx, PATH, changed, ARTIST);
  });

  mount(router, mergeArtist, async (ctx, { params, body }) => {
    const merged = await catalogue.mergeArtist(params.id, body.into, unchanged(ctx, ARTIST));
    sendFound(ctx, PATH, merged, ARTIST, "/merge");
  });

  return router;
}
