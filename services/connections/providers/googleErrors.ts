/** What Google's refusals mean: `{error: {status, details: [{reason, metadata}]}}`. */
import { asFields, type Fields } from "../../import/formats/fields.js";
import { RateLimitedError } from "../errors.js";
import type { ProviderResponse } from "../http/providerFetch.js";
import { waitUntil } from "../http/retryAfter.js";

/**
 * `under way`: what is asked for is being made. `too soon`: one archive a day, and `until` (Unix milliseconds) when that day
 * is over. `used up`: what the user allowed was for one archive. `jobIds` are the archives that stand in the way, newest
 * last; nobody need know of them yet, where a worker died before it could store what it had been told.
 */
export type Refusal =
  | { readonly kind: "under way" | "used up"; readonly jobIds: readonly string[] }
  | { readonly kind: "too soon"; readonly until: number | null; readonly jobIds: readonly string[] };

const USED_UP = "RESOURCE_EXHAUSTED_ONE_TIME";
const TOO_SOON = "RESOURCE_EXHAUSTED_TIME_BASED";
/** Ids are UUIDs so far; a list of them comes as one text. */
const JOB_IDS = /[\w-]{1,200}/g;

/** Throws RateLimitedError for a 429 that is about requests; those about archives say so by their reason. */
export function quotaAsksToWait(answer: ProviderResponse): void {
  if (answer.status !== 429) return;
  const isAboutArchives = detailsIn(answer).some(({ reason }) => reason === USED_UP || reason === TOO_SOON);
  if (isAboutArchives && !answer.headers.has("retry-after")) return;
  throw new RateLimitedError(waitUntil(Object.fromEntries(answer.headers), Date.now()));
}

export function refusalIn(answer: ProviderResponse): Refusal | null {
  const status = errorIn(answer)?.["status"];
  const details = detailsIn(answer);
  const metadata = details.map((detail) => asFields(detail["metadata"]) ?? {});
  const jobIds = metadata.flatMap((told) => [
    ...idsIn(told["previous_job_ids"]),
    ...idsIn(told["previous_job_id"]),
    ...idsIn(told["job_id"]),
  ]);
  if (status === "ALREADY_EXISTS") return { kind: "under way", jobIds };
  if (status === "FAILED_PRECONDITION" || details.some(({ reason }) => reason === TOO_SOON)) {
    const times = metadata.map((told) => timeIn(told["timestamp_after_24hrs"]));
    return { kind: "too soon", until: times.find((time) => time !== null) ?? null, jobIds };
  }
  return details.some(({ reason }) => reason === USED_UP) ? { kind: "used up", jobIds } : null;
}

/** Unix milliseconds of a time in an answer; null for anything else. */
export function timeIn(value: unknown): number | null {
  const time = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(time) ? null : time;
}

function idsIn(value: unknown): readonly string[] {
  const texts: readonly unknown[] = Array.isArray(value) ? value : [value];
  return texts.flatMap((text) => (typeof text === "string" ? (text.match(JOB_IDS) ?? []) : []));
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
