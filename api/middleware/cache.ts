/**
 * Answers from the cache, and 304 for what the client has already. An endpoint says in its declaration what its
 * answer depends on; this makes the key, runs the handler when nothing is kept, and finishes the bytes.
 */
import type { Scope } from "../../db/queries/cacheVersions.js";
import type { Loaded, PageCache } from "../../services/cache/PageCache.js";
import type { Page } from "../../services/cache/page.js";
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
  const encoding = ctx.acceptsEncodings("gzip", "identity") === "gzip" ? "gzip" : "identity";
  const input = JSON.stringify([sorted(params), sorted(query)]);
  let handled = false;
  const load = async (): Promise<Loaded> => {
    handled = true;
    await handle();
    if (ctx.status !== 200) throw new NoPage();
    return {
      body: bytesOf(ctx.body),
      etag: ctx.state.etag,
      keep: ctx.state.uncacheable !== true,
    };
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

/** Koa's own check takes `Cache-Control: no-cache` of a request, which fetch adds to conditional ones, for a wish to reload. */
function send(ctx: AppContext, { etag, encoding, body }: Page): void {
  ctx.status = 200;
  ctx.type = "application/json";
  ctx.set("Cache-Control", "private, no-cache");
  ctx.vary("Authorization");
  ctx.vary("Accept-Encoding");
  const known = matching(ctx.get("If-None-Match"), etag);
  ctx.set("ETag", known ?? tagOf(etag, encoding));
  if (known !== null) {
    ctx.status = 304;
    ctx.body = null;
    return;
  }
  if (encoding === "gzip") ctx.set("Content-Encoding", "gzip");
  ctx.body = body;
}

/** The tag by which the client knows this answer, in whichever encoding it has it; null when it does not. */
function matching(header: string, etag: string): string | null {
  if (header === "") return null;
  const tags = tagsIn(header).map((tag) => tag.replace(/^W\//, ""));
  const ours = tagsOf(etag);
  if (tags.includes("*")) return tagOf(etag, "identity");
  return ours.find((tag) => tags.includes(tag)) ?? null;
}

/** The order in which a client names its parameters means nothing. */
const sorted = (fields: unknown): readonly (readonly [string, unknown])[] =>
  Object.entries(fields ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
