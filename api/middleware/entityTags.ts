/**
 * Entity tags, and changes that only happen while the resource is in the state its editor saw. A tag is a hash of the
 * JSON that `GET` answers with, so a resource without a column for its version has one, too, and a change of
 * anything that is shown (the title of a play's track, say) makes a tag stale. Where an answer also shows what moves
 * by itself, a hash of what can be edited goes before it: this part is what `If-Match` compares.
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
  const ours = tagsOf(etagOf(bytesOf(current)));
  refuseUnlessNamed(ctx, (tag) => ours.includes(tag));
}

/** A tag of `sendEditable`, in either encoding. */
const EDITABLE_TAG = /^"([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{22}(?:-gzip)?"$/;

/** The same for answers of `sendEditable`: whatever else they show may have changed. */
export function assertEditableMatch(ctx: AppContext, editable: unknown): void {
  const ours = etagOf(bytesOf(editable));
  refuseUnlessNamed(ctx, (tag) => EDITABLE_TAG.exec(tag)?.[1] === ours);
}

/** Strong comparison: a weak tag never matches. */
function refuseUnlessNamed(ctx: AppContext, isOurs: (tag: string) => boolean): void {
  const header = ctx.get("If-Match");
  if (header === "" || header.trim() === "*") return;
  if (!tagsIn(header).some(isOurs)) throw new PreconditionFailedError();
}

/** Answers with a resource and its tag, as after a change; `GET` sends the same bytes, and gets its tag from the cache. */
export function sendResource(ctx: AppContext, body: unknown, status = 200): void {
  const bytes = bytesOf(body);
  send(ctx, bytes, etagOf(bytes), status);
}

/** The same, where `body` shows more than what can be edited of it. */
export function sendEditable(ctx: AppContext, body: unknown, editable: unknown, status = 200): void {
  const bytes = bytesOf(body);
  const etag = `${etagOf(bytesOf(editable))}.${etagOf(bytes)}`;
  ctx.state.etag = etag; // for the cache, which knows the body alone
  send(ctx, bytes, etag, status);
}

function send(ctx: AppContext, bytes: Buffer, etag: string, status: number): void {
  ctx.status = status;
  ctx.type = "application/json";
  ctx.set("ETag", tagOf(etag, "identity"));
  ctx.body = bytes;
}
