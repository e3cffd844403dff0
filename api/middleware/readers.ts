/** Says that somebody reads, so that imports can give way; see services/readers.ts. */
import type { ReaderNotice } from "../../services/readers.js";
import type { AppMiddleware } from "../types.js";

const API = "/api/v1/";
/** Who watches an import waits for nothing but the import, and probes of health read nothing. */
const NOT_READING = ["/api/v1/imports", "/api/v1/health"];

export const noticed =
  (readers: ReaderNotice): AppMiddleware =>
  (ctx, next) => {
    const { path } = ctx;
    if (ctx.method === "GET" && path.startsWith(API) && !NOT_READING.some((other) => path.startsWith(other)))
      readers.note();
    return next();
  };
