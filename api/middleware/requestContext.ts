/** Gives each request an id, a logger and its line in the log, and puts the headers on that every answer has. */
import { randomUUID } from "node:crypto";
import { type Logger, withLogFields } from "../../utils/logger.js";
import type { AppMiddleware } from "../types.js";

/** A caller's own id is kept when it cannot break a header or a log line. */
const ACCEPTABLE_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Outermost middleware; everything else runs inside its log scope. */
export const requestContext =
  (log: Logger): AppMiddleware =>
  async (ctx, next) => {
    const given = ctx.get("X-Request-Id");
    const requestId = ACCEPTABLE_ID.test(given) ? given : randomUUID();
    ctx.state.requestId = requestId;
    ctx.state.log = log;
    ctx.set("X-Request-Id", requestId);
    ctx.set("X-Content-Type-Options", "nosniff");
    ctx.set("Referrer-Policy", "no-referrer");
    const started = performance.now();
    await withLogFields({ requestId }, async () => {
      await next();
      const line = {
        method: ctx.method,
        // The template, not the path: paths carry ids and whatever a client puts there.
        route: ctx.state.route ?? "unmatched",
        status: ctx.status,
        ms: Math.round((performance.now() - started) * 10) / 10,
        ...(ctx.state.caller === undefined ? {} : { userId: ctx.state.caller.userId }),
      };
      if (ctx.state.route?.includes("/health") === true) log.debug("request", line);
      else log.info("request", line);
    });
  };
