import Router from "@koa/router";
import { presentPage, sendCreated, sendFound } from "../../catalogue/answers.js";
import { mount } from "../../middleware/endpoint.js";
import { assertMatch } from "../../middleware/entityTags.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { presentArtist, presentArtistSummary } from "./presenter.js";
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
    sendCreated(ctx, PATH, await catalogue.createArtist(body), presentArtist);
  });

  mount(router, showArtist, async (ctx, { params }) => {
    sendFound(ctx, PATH, await catalogue.findArtist(params.id), presentArtist);
  });

  mount(router, replaceArtist, async (ctx, { params, body }) => {
    const changed = await catalogue.editArtist(params.id, body, (current) =>
      assertMatch(ctx, presentArtist(current)),
    );
    sendFound(ctx, PATH, changed, presentArtist);
  });

  mount(router, patchArtist, async (ctx, { params, body }) => {
    const changed = await catalogue.editArtist(params.id, body, (current) =>
      assertMatch(ctx, presentArtist(current)),
    );
    sendFound(ctx, PATH, changed, presentArtist);
  });

  mount(router, mergeArtist, async (ctx, { params, body }) => {
    const merged = await catalogue.mergeArtist(params.id, body.into, (current) =>
      assertMatch(ctx, presentArtist(current)),
    );
    sendFound(ctx, PATH, merged, presentArtist, "/merge");
  });

  return router;
}
