import type { ApiMetrics } from "../metrics/ApiMetrics.js";
import type { AppMiddleware } from "../types.js";

/** Outside everything else, so that it sees the status every request ends with. Counts when the answer is out. */
export const measured =
  (metrics: ApiMetrics): AppMiddleware =>
  (ctx, next) => {
    const started = performance.now();
    metrics.requestBegan();
    ctx.res.on("close", () =>
      metrics.requestEnded({
        method: ctx.method,
        route: ctx.state.route,
        status: ctx.res.writableFinished ? ctx.res.statusCode : null,
        seconds: (performance.now() - started) / 1000,
      }),
    );
    return next();
  };
