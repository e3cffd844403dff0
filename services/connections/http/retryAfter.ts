/** How long a provider that answers 429 is left alone. */
import type { IncomingHttpHeaders } from "node:http";

export const LONGEST_WAIT_MS = 24 * 60 * 60 * 1000;
const SHORTEST_WAIT_MS = 1000;
const UNSAID_WAIT_MS = 60_000;
const SECONDS = /^\d+(?:\.\d+)?$/;

/**
 * Unix milliseconds: from Retry-After (seconds, or a date), else from ListenBrainz' own header, else in a minute. At most
 * a day away, whatever is asked.
 */
export function waitUntil(headers: IncomingHttpHeaders, now: number): number {
  const said = headers["retry-after"] ?? headers["x-ratelimit-reset-in"];
  const wait = waitOf(typeof said === "string" ? said.trim() : "", now);
  return now + Math.min(Math.max(wait, SHORTEST_WAIT_MS), LONGEST_WAIT_MS);
}

function waitOf(said: string, now: number): number {
  if (SECONDS.test(said)) return Math.ceil(Number(said) * 1000);
  // Every form of date that HTTP knows begins with the name of a day; Date.parse alone would take "-5" for one.
  const date = /^[A-Z][a-z]{2}/.test(said) ? Date.parse(said) : NaN;
  return Number.isNaN(date) ? UNSAID_WAIT_MS : date - now;
}
