import Router from "@koa/router";
import type { CatalogueEntity } from "../../../db/models/enums.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { presentPage } from "./presenter.js";
import { searchCatalogue } from "./schema.js";

export function searchRouter({ search }: Pick<AppDeps, "search">): AppRouter {
  const router: AppRouter = new Router();

  mount(router, searchCatalogue, async (ctx, { query: { q, type, limit, cursor } }) => {
    // The declaration lets nothing else through.
    const entities = [...new Set(type.split(","))] as CatalogueEntity[];
    const page = await search.search({ q, entities, limit, ...(cursor === undefined ? {} : { cursor }) });
    ctx.body = presentPage(page);
  });

  return router;
}
