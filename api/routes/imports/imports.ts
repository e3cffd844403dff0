import { Readable } from "node:stream";
import Router from "@koa/router";
import { IdempotencyStore } from "../../../services/idempotency/IdempotencyStore.js";
import { JobFeed } from "../../../services/import/events.js";
import { UploadQuotas } from "../../../services/import/quotas.js";
import type { ImportJobView } from "../../../services/import/views.js";
import { TooManyRequestsError } from "../../../utils/errors.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppContext, AppDeps, AppRouter } from "../../types.js";
import { UserSlots } from "../../userSlots.js";
import { acceptUpload } from "./createImport.js";
import { ledgerCsv } from "./csv.js";
import { ImportEvents } from "./events.js";
import { presentImport } from "./presenter.js";
import {
  cancelImport,
  createImport,
  listImportRows,
  listImports,
  pauseImport,
  resumeImport,
  retryImport,
  showImport,
  undoImport,
  watchImport,
} from "./schema.js";

/** Uploads have no limit in time, but a floor in speed: a connection that stands still holds its place for nothing. */
const RATE_WINDOW_MS = 10_000;
const RETRY_AFTER_SECONDS = 10;

type Deps = Pick<AppDeps, "auth" | "imports" | "blobs" | "config" | "database" | "log" | "metrics">;

export function importsRouter(deps: Deps): AppRouter {
  const { imports } = deps;
  const upload = uploads(deps);
  const events = importEvents(deps);
  const router: AppRouter = new Router();

  mount(router, createImport, async (ctx, { caller, query }) => {
    const { status, headers, body } = await upload(ctx, caller.userId, query);
    ctx.status = status;
    ctx.set({ ...headers });
    ctx.body = body;
  });

  mount(router, listImports, async (ctx, { caller, query }) => {
    const { data, nextCursor } = await imports.list(caller.userId, query);
    ctx.body = { data: data.map(presentImport), nextCursor };
  });

  mount(router, showImport, async (ctx, { caller, params }) => {
    ctx.body = presentImport(await imports.find(caller.userId, params.id));
  });

  mount(router, watchImport, (ctx, { caller, params }) => events.answer(ctx, caller, params.id));

  mount(router, listImportRows, async (ctx, { caller, params, query }) => {
    ctx.vary("Accept");
    if (ctx.accepts("application/json", "text/csv") === "text/csv") {
      const rows = await imports.allRows(caller.userId, params.id, query);
      ctx.type = "text/csv; charset=utf-8; header=present";
      ctx.set("Content-Disposition", `attachment; filename="import-${params.id}-rows.csv"`);
      ctx.body = Readable.from(ledgerCsv(rows));
    } else {
      ctx.body = await imports.rows(caller.userId, params.id, query);
    }
  });

  mount(router, cancelImport, async (ctx, { caller, params }) =>
    answerAccepted(ctx, await imports.cancel(caller.userId, params.id)),
  );
  mount(router, retryImport, async (ctx, { caller, params }) =>
    answerAccepted(ctx, await imports.retry(caller.userId, params.id)),
  );
  mount(router, undoImport, async (ctx, { caller, params }) =>
    answerAccepted(ctx, await imports.undo(caller.userId, params.id)),
  );

  mount(router, pauseImport, async (ctx, { caller, params }) => {
    ctx.body = presentImport((await imports.pause(caller.userId, params.id)).job);
  });
  mount(router, resumeImport, async (ctx, { caller, params }) => {
    ctx.body = presentImport((await imports.resume(caller.userId, params.id)).job);
  });

  return router;
}

/** 202: something happens now that takes a while; 200: it was so already. */
function answerAccepted(
  ctx: AppContext,
  { job, changed }: { readonly job: ImportJobView; readonly changed: boolean },
): void {
  ctx.status = changed ? 202 : 200;
  ctx.body = presentImport(job);
}

function uploads(deps: Deps) {
  const { imports: settings } = deps.config;
  const { pool } = deps.database;
  const limits = {
    maxBytes: settings.uploadMaxBytes,
    minBytesPerSecond: settings.uploadMinBytesPerSecond,
    windowMs: RATE_WINDOW_MS,
  };
  const quotas = new UploadQuotas({
    pool,
    uploadsPerDay: settings.uploadsPerDay,
    spoolMaxBytes: settings.userSpoolMaxBytes,
  });
  const slots = new UserSlots(settings.uploadsAtOnce, () => {
    const message = `At most ${settings.uploadsAtOnce} uploads at once`;
    return new TooManyRequestsError(RETRY_AFTER_SECONDS, message, "too_many_uploads");
  });
  const parts = { ...deps, limits, quotas, idempotency: new IdempotencyStore({ pool }) };
  return (ctx: AppContext, userId: string, query: Parameters<typeof acceptUpload>[3]) =>
    slots.run(userId, () => acceptUpload(ctx, parts, userId, query));
}

function importEvents({ auth, config, database, log, metrics }: Deps): ImportEvents {
  const { eventsPollMs, eventsKeepAliveMs, eventStreamsPerUser } = config.imports;
  return new ImportEvents({
    feed: new JobFeed({ pool: database.pool, log, pollMs: eventsPollMs }),
    auth,
    streamsPerUser: eventStreamsPerUser,
    keepAliveMs: eventsKeepAliveMs,
    metrics,
  });
}
