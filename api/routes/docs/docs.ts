import path from "node:path";
import Router from "@koa/router";
import { NotFoundError } from "../../../utils/errors.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppRouter } from "../../types.js";
import { CONTENT_SECURITY_POLICY, docsPage } from "./page.js";
import { showAsset, showDocument, showPage } from "./schema.js";

const ASSET_SECONDS = 3600;

/** @param document what /openapi.json answers with */
export function docsRouter(document: object): AppRouter {
  const router: AppRouter = new Router();
  const page = docsPage();
  const json = JSON.stringify(document);

  mount(router, showDocument, (ctx) => {
    ctx.body = json;
    ctx.type = "application/json";
  });

  mount(router, showPage, (ctx) => {
    ctx.set("Content-Security-Policy", CONTENT_SECURITY_POLICY);
    ctx.body = page.html;
    ctx.type = "text/html";
  });

  mount(router, showAsset, async (ctx, { params }) => {
    const content = await page.asset(params.file);
    if (content === null) throw new NotFoundError();
    ctx.set("Content-Security-Policy", CONTENT_SECURITY_POLICY);
    ctx.set("Cache-Control", `public, max-age=${ASSET_SECONDS}`);
    ctx.body = content;
    ctx.type = path.extname(params.file);
  });

  return router;
}
