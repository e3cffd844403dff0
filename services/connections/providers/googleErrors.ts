/** What Google's refusals mean: `{error: {status, details: [{reason, metadata}]}}`. */
import { asFields, type Fields } from "../../import/formats/fields.js";
import { RateLimitedError } from "../errors.js";
import type { ProviderResponse } from "../http/providerFetch.js";
import { waitUntil } from "../http/retryAfter.js";

/**
 * `too soon`: one archive a day; `until` (Unix milliseconds) and the id of the archive of that day where they are said.
 * `used up`: what the user allowed was for one archive.
 */
export type Refusal =
  | { readonly kind: "too soon"; readonly until: number | null; readonly jobId: string | null }
  | { readonly kind: "used up" };

const RATE_LIMIT = "RATE_LIMIT_EXCEEDED";
const TOO_SOON = "RESOURCE_EXHAUSTED_TIME_BASED";

/** Throws RateLimitedError for a 429 that is about requests; the others are about archives. */
export function quotaAsksToWait(answer: ProviderResponse): void {
  if (answer.status !== 429) return;
  const isAboutArchives = errorIn(answer)?.["status"] === "RESOURCE_EXHAUSTED";
  const isAboutRequests = detailsIn(answer).some(({ reason }) => reason === RATE_LIMIT);
  if (isAboutArchives && !isAboutRequests && !answer.headers.has("retry-after")) return;
  throw new RateLimitedError(waitUntil(Object.fromEntries(answer.headers), Date.now()));
}

export function refusalIn(answer: ProviderResponse): Refusal | null {
  const status = errorIn(answer)?.["status"];
  const said = detailsIn(answer).find(({ reason }) => reason === TOO_SOON);
  if (status === "FAILED_PRECONDITION" || said !== undefined) {
    const { timestamp_after_24hrs: after, previous_job_id: id } = asFields(said?.["metadata"]) ?? {};
    const until = typeof after === "string" ? Date.parse(after) : NaN;
    return {
      kind: "too soon",
      until: Number.isNaN(until) ? null : until,
      jobId: typeof id === "string" ? id : null,
    };
  }
  return status === "RESOURCE_EXHAUSTED" ? { kind: "used up" } : null;
}

function errorIn(answer: ProviderResponse): Fields | undefined {
  try {
    return asFields(asFields(answer.json())?.["error"]);
  } catch {
    return undefined;
  }
}

function detailsIn(answer: ProviderResponse): Fields[] {
  const details = errorIn(answer)?.["details"];
  return Array.isArray(details) ? details.map(asFields).filter((detail) => detail !== undefined) : [];
}
