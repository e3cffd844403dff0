/**
 * Entity tags, and changes that only happen while the resource is in the state its editor saw. A tag is a hash of the
 * JSON that `GET` answers with, so a resource without a column for its version has one, too, and a change of
 * anything that is shown (the title of a play's track, say) makes a tag stale.
 */
import { etagOf, type Page } from "../../services/cache/page.js";
import { PreconditionFailedError } from "../../utils/errors.js";
import type { AppContext } from "../types.js";

/** Strong tags name bytes, so the same answer has one for each encoding. */
export const tagOf = (etag: string, encoding: Page["encoding"]): string =>
  encoding === "gzip" ? `"${etag}-gzip"` : `"${etag}"`;

export const tagsOf = (etag: string): readonly string[] => [tagOf(etag, "identity"), tagOf(etag, "gzip")];

export const tagsIn = (header: string): readonly string[] => header.split(",").map((tag) => tag.trim());

/** Handlers set text, bytes or an object. */
export function bytesOf(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}

/**
 * Throws `PreconditionFailedError` when the request has an `If-Match` that does not name `current`: what `GET`
 * would answer now, as the handler's body. To be asked under the lock under which the change is made.
 */
export function assertMatch(ctx: AppContext, current: unknown): void {
  const header = ctx.get("If-Match");
  if (header === "" || header.trim() === "*") return;
  const ours = tagsOf(etagOf(bytesOf(current)));
  // Strong comparison: a weak tag never matches.
  if (!tagsIn(header).some((tag) => ours.includes(tag))) throw new PreconditionFailedError();
}

/** Answers with a resource and its tag, as after a change; `GET` sends the same bytes, and gets its tag from the cache. */
export function sendResource(ctx: AppContext, body: unknown, status = 200): void {
  const bytes = bytesOf(body);
  ctx.status = status;
  ctx.type = "application/json";
  ctx.set("ETag", tagOf(etagOf(bytes), "identity"));
  ctx.body = bytes;
}
