import Router from "@koa/router";
import { poolStatus } from "../../../db/knex.js";
import { DatabaseProbe } from "../../../db/probe.js";
import { UnavailableError } from "../../../utils/errors.js";
import { mount } from "../../middleware/endpoint.js";
import { answerProblem } from "../../middleware/errorHandler.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { database, dependencies, live, ready } from "./schema.js";

const RETRY_AFTER_SECONDS = 5;
/** A probe gets its answer, whatever hangs. */
const PATIENCE_MS = 2000;

type HealthDeps = Pick<AppDeps, "config" | "database" | "reads" | "redis" | "queue" | "blobs">;

export function healthRouter(deps: HealthDeps): AppRouter {
  const router: AppRouter = new Router();
  const probe = new DatabaseProbe(deps.config.database);

  for (const declaration of live) {
    mount(router, declaration, (ctx) => {
      ctx.body = { status: "ok" };
    });
  }

  for (const declaration of ready) {
    mount(router, declaration, async (ctx) => {
      const { state } = await probe.check();
      if (state === "down") {
        throw new UnavailableError("database", "The database does not answer", RETRY_AFTER_SECONDS);
      }
      ctx.body = { status: "ok" };
    });
  }

  for (const declaration of database) {
    mount(router, declaration, async (ctx) => {
      const [health, copy] = await Promise.all([probe.check(), deps.reads.report()]);
      const { knex, pool: pg, replica: replicaPool } = poolStatus(deps.database);
      const primary = { ...health, pools: { knex, pg } };
      const replica = copy === null ? null : { ...copy, pools: { pg: replicaPool } };
      const report = { primary, replica };
      if (primary.state === "up") {
        ctx.body = report;
        return;
      }
      ctx.set("Retry-After", String(RETRY_AFTER_SECONDS));
      answerProblem(ctx, { status: 503, code: "database", detail: "The database does not answer" }, report);
    });
  }

  for (const declaration of dependencies) {
    mount(router, declaration, async (ctx) => {
      const late = { ok: false, latencyMs: null, detail: "No answer in time" };
      const { kind } = deps.config.queue;
      const [redis, queue, blobStore] = await Promise.all([
        inTime(deps.redis.ping(), { ok: false, latencyMs: null }),
        inTime(deps.queue.health(), late),
        inTime(deps.blobs.health(), { ok: false, detail: late.detail }),
      ]);
      const status = redis.ok && queue.ok && blobStore.ok ? "ok" : "degraded";
      const temporal = kind === "temporal" ? queue : null;
      ctx.body = { status, redis, queue: { kind, ...queue }, temporal, blobStore };
    });
  }

  return router;
}

/** `otherwise` when the check fails or takes too long; what went wrong is logged by whoever uses the thing. */
async function inTime<T>(check: Promise<T>, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), PATIENCE_MS);
  });
  try {
    return await Promise.race([check.catch(() => otherwise), late]);
  } finally {
    clearTimeout(timer);
  }
}
