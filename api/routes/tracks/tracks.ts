import Router from "@koa/router";
import { presentPage, sendCreated, sendFound, unchanged } from "../../catalogue/answers.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { presentTrack, TRACK } from "./presenter.js";
import { createTrack, listTracks, mergeTrack, patchTrack, PATH, replaceTrack, showTrack } from "./schema.js";

export function tracksRouter({ catalogue }: Pick<AppDeps, "catalogue">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, listTracks, async (ctx, { query }) => {
    ctx.body = presentPage(await catalogue.listTracks(query), presentTrack);
  });

  mount(router, createTrack, async (ctx, { body }) => {
    sendCreated(ctx, PATH, await catalogue.createTrack(body), TRACK);
  });

  mount(router, showTrack, async (ctx, { params }) => {
    sendFound(ctx, PATH, await catalogue.findTrack(params.id), TRACK);
  });

  mount(router, replaceTrack, async (ctx, { params, body }) => {
    const changed = await catalogue.editTrack(params.id, body, unchanged(ctx, TRACK));
    sendFound(ctx, PATH, changed, TRACK);
  });

  mount(router, patchTrack, async (ctx, { params, body }) => {
    const changed = await catalogue.editTrack(params.id, body, unchanged(ctx, TRACK));
    sendFound(ctx, PATH, changed, TRACK);
  });

  mount(router, mergeTrack, async (ctx, { params, body }) => {
    const merged = await catalogue.mergeTrack(params.id, body.into, unchanged(ctx, TRACK));
    sendFound(ctx, PATH, merged, TRACK, "/merge");
  });

  return router;
}
