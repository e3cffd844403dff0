/** Gives each request an id, a logger and its line in the log, and puts the headers on that every answer has. */
import { randomUUID } from "node:crypto";
import type { Next } from "koa";
import { type Logger, withLogFields } from "../../utils/logger.js";
import type { AppContext, AppMiddleware } from "../types.js";

/** A caller's own id is kept when it cannot break a header or a log line. */
const ACCEPTABLE_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Everything below it runs inside its log scope. */
export const requestContext =
  (log: Logger): AppMiddleware =>
  (ctx, next) => {
    const { req, res, state } = ctx;
    const given = req.headers["x-request-id"];
    const requestId = typeof given === "string" && ACCEPTABLE_ID.test(given) ? given : randomUUID();
    state.requestId = requestId;
    state.log = log;
    res.setHeader("X-Request-Id", requestId);
    res.setHeader("X-Content-Type-Options", "nosniff");
    res.setHeader("Referrer-Policy", "no-referrer");
    return withLogFields({ requestId }, () => answered(ctx, next));
  };

async function answered(ctx: AppContext, next: Next): Promise<void> {
  const started = performance.now();
  await next();
  const { route, caller, log } = ctx.state;
  const line = {
    method: ctx.method,
    // The template, not the path: paths carry ids and whatever a client puts there.
    route: route ?? "unmatched",
    status: ctx.status,
    ms: Math.round((performance.now() - started) * 10) / 10,
    userId: caller?.userId,
  };
  if (route?.includes("/health") === true) log.debug("request", line);
  else log.info("request", line);
}
