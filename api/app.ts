/** The api as a Koa application. Opens nothing: connections, timers and ports are its maker's. */
import Router from "@koa/router";
import Koa from "koa";
import { ReaderNotice } from "../services/readers.js";
import { MethodNotAllowedError } from "../utils/errors.js";
import { authentication } from "./middleware/auth.js";
import { caching } from "./middleware/cache.js";
import { type Mounted, mountedOn } from "./middleware/endpoint.js";
import { errorHandler } from "./middleware/errorHandler.js";
import { measured } from "./middleware/metrics.js";
import { rateLimiting } from "./middleware/rateLimit.js";
import { noticed } from "./middleware/readers.js";
import { requestContext } from "./middleware/requestContext.js";
import { openApiDocument } from "./openapi/document.js";
import { docsRouter } from "./routes/docs/docs.js";
import { endpoints, resources } from "./routes/index.js";
import type { AppContext, AppDeps, AppMiddleware, AppRouter, AppState } from "./types.js";

export type App = Koa<AppState, object>;

export function buildApp(deps: AppDeps): App {
  const routers = [
    ...resources.map(({ router }) => router(deps)),
    docsRouter(openApiDocument({ endpoints })),
  ];
  checkDeclared(routers);
  const root: AppRouter = new Router();
  for (const router of routers) root.use(router.routes());

  const app: App = new Koa();
  app.on("error", (error: unknown, ctx?: AppContext) => {
    // Errors after the answer began: a stream broke, or the client went away.
    deps.log.warn("response failed", { error, route: ctx?.state.route });
  });
  app.use(measured(deps.metrics));
  app.use(requestContext(deps.log));
  app.use(errorHandler);
  app.use(authentication(deps.auth));
  if (deps.limits !== null) app.use(rateLimiting(deps.limits));
  app.use(noticed(new ReaderNotice(deps.redis)));
  app.use(caching(deps.pages));
  app.use(straightTo(root, routers.flatMap(mountedOn)));
  app.use(root.routes());
  app.use(answerOtherMethods);
  return app;
}

/** A route that is not in the document, or the other way round, is a mistake of ours. */
function checkDeclared(routers: readonly AppRouter[]): void {
  const mounted = new Set(routers.flatMap(mountedOn).map(({ endpoint }) => endpoint));
  const missing = endpoints.filter((endpoint) => !mounted.delete(endpoint));
  const wrong = [...missing, ...mounted].map(({ method, path }) => `${method} ${path}`);
  if (wrong.length > 0) throw new Error(`Declared and mounted endpoints differ: ${wrong.join(", ")}`);
}

/**
 * A table of the addresses without parameters: the router tries the patterns of all routes for each request. The router has
 * the last word on what an address means, and answers everything that is not in the table.
 */
function straightTo(router: AppRouter, mounted: readonly Mounted[]): AppMiddleware {
  const table = new Map<string, Mounted["answer"]>();
  for (const { endpoint, answer } of mounted) {
    const method = endpoint.method.toUpperCase();
    if (router.match(endpoint.path, method).pathAndMethod[0]?.path !== endpoint.path) continue;
    table.set(`${method} ${endpoint.path}`, answer);
  }
  return (ctx, next) => table.get(`${ctx.method} ${ctx.path}`)?.(ctx) ?? next();
}

interface Matched {
  readonly matched?: readonly { readonly methods: readonly string[] }[];
}

/** Runs when no route took the request: 405 where the path exists, 204 for OPTIONS; 404 is left to the error handler. */
async function answerOtherMethods(ctx: AppContext & Matched): Promise<void> {
  const allow = [...new Set((ctx.matched ?? []).flatMap(({ methods }) => methods))];
  if (allow.length === 0) return;
  allow.push("OPTIONS");
  if (ctx.method !== "OPTIONS") throw new MethodNotAllowedError(allow);
  ctx.set("Allow", allow.join(", "));
  ctx.status = 204;
  return Promise.resolve();
}
