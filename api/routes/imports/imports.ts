import { Readable } from "node:stream";
import Router from "@koa/router";
import { IdempotencyStore } from "../../../services/idempotency/IdempotencyStore.js";
import { mount } from "../../middleware/endpoint.js";
import type { AppDeps, AppRouter } from "../../types.js";
import { UploadSlots } from "../../upload/slots.js";
import { acceptUpload } from "./createImport.js";
import { ledgerCsv } from "./csv.js";
import { presentImport } from "./presenter.js";
import {
  cancelImport,
  createImport,
  listImportRows,
  listImports,
  retryImport,
  showImport,
} from "./schema.js";

/** Uploads have no limit in time, but a floor in speed: a connection that stands still holds its place for nothing. */
const MIN_BYTES_PER_SECOND = 32 * 1024;
const RATE_WINDOW_MS = 10_000;
const UPLOADS_AT_ONCE = 10;

export function importsRouter(
  deps: Pick<AppDeps, "imports" | "blobs" | "config" | "database" | "log">,
): AppRouter {
  const { imports, config, database } = deps;
  const idempotency = new IdempotencyStore({ pool: database.pool });
  const slots = new UploadSlots(UPLOADS_AT_ONCE);
  const limits = {
    maxBytes: config.imports.uploadMaxBytes,
    minBytesPerSecond: MIN_BYTES_PER_SECOND,
    windowMs: RATE_WINDOW_MS,
  };
  const router: AppRouter = new Router();

  mount(router, createImport, async (ctx, { caller, query }) => {
    const { status, headers, body } = await slots.run(caller.userId, () =>
      acceptUpload(ctx, { ...deps, idempotency }, limits, caller.userId, query),
    );
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

  mount(router, cancelImport, async (ctx, { caller, params }) => {
    const { job, changed } = await imports.cancel(caller.userId, params.id);
    ctx.status = changed ? 202 : 200;
    ctx.body = presentImport(job);
  });

  mount(router, retryImport, async (ctx, { caller, params }) => {
    const { job, changed } = await imports.retry(caller.userId, params.id);
    ctx.status = changed ? 202 : 200;
    ctx.body = presentImport(job);
  });

  return router;
}
