/**
 * Answers from the cache, and 304 for what the client has already. An endpoint says in its declaration what its
 * answer depends on; this makes the key, runs the handler when nothing is kept, and finishes the bytes.
 */
import type { Scope } from "../../db/queries/cacheVersions.js";
import type { Loaded, PageCache } from "../../services/cache/PageCache.js";
import type { Encoding, Page } from "../../services/cache/page.js";
import { BoundedMap } from "../../services/limits/BoundedMap.js";
import type { AppContext, AppMiddleware } from "../types.js";
import { bytesOf, tagOf, tagsIn, tagsOf } from "./entityTags.js";

/** Gives requests their `ctx.state.pages`; `mount` uses it for endpoints that declare `cache` or `changes`. */
export const caching =
  (pages: PageCache): AppMiddleware =>
  (ctx, next) => {
    ctx.state.pages = pages;
    return next();
  };

/** What `mount` knows of a request that may be answered from the cache. */
export interface CachedRequest {
  readonly userId: string;
  readonly route: string;
  /** As validated, so that what means the same has one key: defaults are filled in, unknown fields refused. */
  readonly params: unknown;
  readonly query: unknown;
  readonly scopes: readonly Scope[];
}

/** For a handler whose answer turned out to depend on more than its endpoint declares. */
export function keepOutOfCache(ctx: AppContext): void {
  ctx.state.uncacheable = true;
}

/** Answers `ctx` from the cache, or by `handle`, which sets a body as it does without a cache. */
export async function answerCached(
  ctx: AppContext,
  request: CachedRequest,
  handle: () => Promise<void> | void,
): Promise<void> {
  const { userId, route, params, query, scopes } = request;
  const encoding = encodingOf(ctx);
  const input = `[${textOf(params)},${textOf(query)}]`;
  let handled = false;
  const load = async (): Promise<Loaded> => {
    handled = true;
    await handle();
    if (ctx.status !== 200) throw new NoPage();
    return { body: bytesOf(ctx.body), etag: ctx.state.etag, keep: ctx.state.uncacheable !== true };
  };
  try {
    send(ctx, await ctx.state.pages.get({ userId, route, input, scopes, encoding }, load));
  } catch (error) {
    if (!(error instanceof NoPage)) throw error;
    // A redirect, say: no page to keep. Whoever only waited for it asks for itself.
    if (!handled) await handle();
  }
}

class NoPage extends Error {}

/** Headers of which it is remembered what they ask for: there are as many as there are kinds of clients. */
const MAX_ENCODINGS = 100;
const MAX_HEADER_LENGTH = 100;
const encodings = new BoundedMap<string, Encoding>(MAX_ENCODINGS);

function encodingOf(ctx: AppContext): Encoding {
  const header = ctx.req.headers["accept-encoding"]?.toString() ?? "";
  const known = encodings.get(header);
  if (known !== undefined) return known;
  const encoding = ctx.acceptsEncodings("gzip", "identity") === "gzip" ? "gzip" : "identity";
  if (header.length <= MAX_HEADER_LENGTH) encodings.set(header, encoding);
  return encoding;
}

const JSON_TYPE = "application/json; charset=utf-8";
const VARY = "Authorization, Accept-Encoding";

/** Koa's own check takes `Cache-Control: no-cache` of a request, which fetch adds to conditional ones, for a wish to reload. */
function send(ctx: AppContext, { etag, encoding, body }: Page): void {
  const { req, res } = ctx;
  const known = matching(req.headers["if-none-match"] ?? "", etag);
  res.setHeader("Cache-Control", "private, no-cache");
  res.setHeader("Vary", VARY);
  res.setHeader("ETag", known ?? tagOf(etag, encoding));
  if (known !== null) {
    ctx.status = 304;
    ctx.body = null;
    return;
  }
  // What koa would find out about these bytes is known.
  ctx.respond = false;
  res.statusCode = 200;
  res.setHeader("Content-Type", JSON_TYPE);
  res.setHeader("Content-Length", body.length);
  if (encoding === "gzip") res.setHeader("Content-Encoding", "gzip");
  res.end(body);
}

/** The tag by which the client knows this answer, in whichever encoding it has it; null when it does not. */
function matching(header: string, etag: string): string | null {
  if (header === "") return null;
  const tags = tagsIn(header).map((tag) => tag.replace(/^W\//, ""));
  const ours = tagsOf(etag);
  if (tags.includes("*")) return tagOf(etag, "identity");
  return ours.find((tag) => tags.includes(tag)) ?? null;
}

/** A query that was understood before comes as the same object. */
const texts = new WeakMap<object, string>();
const NOTHING = "[]";

/** The order in which a client names its parameters means nothing. */
function textOf(fields: unknown): string {
  if (typeof fields !== "object" || fields === null) return NOTHING;
  const known = texts.get(fields);
  if (known !== undefined) return known;
  const text = JSON.stringify(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
  texts.set(fields, text);
  return text;
}
