/** What the clients have in common: a request within the budget, and what an answer's status means. */
import type { Budget, Share } from "../budget.js";
import { ProviderError, RateLimitedError, ReauthNeededError } from "../errors.js";
import type { ProviderFetch, ProviderRequest, ProviderResponse } from "../http/providerFetch.js";
import type { SyncAccess } from "./types.js";

export type Json = Readonly<Record<string, unknown>>;

/**
 * One request for `who` (a connection, or somebody about to make one). Throws RateLimitedError before it is sent, too.
 * `check` may throw one for an answer that asks to wait in a way of its own.
 */
export type Call = (
  request: ProviderRequest,
  who: string,
  check?: (answer: ProviderResponse) => void,
) => Promise<ProviderResponse>;

export interface CallDeps {
  readonly fetch: ProviderFetch;
  readonly budget: Budget;
}

/** All that goes through one `share` is kept back together, once the provider has asked for it. */
export function callsWithin(share: Share, { fetch, budget }: CallDeps): Call {
  return async (request, who, check) => {
    await budget.take(share, who, request.signal);
    try {
      const answer = await fetch(request);
      check?.(answer);
      return answer;
    } catch (error) {
      if (error instanceof RateLimitedError) await budget.block(share, error.until);
      throw error;
    }
  };
}

/**
 * With a token that the provider does not take any more, once more with a fresh one. The second refusal is for the user
 * to solve.
 */
export async function authorized(
  access: SyncAccess,
  send: (token: string) => Promise<ProviderResponse>,
): Promise<ProviderResponse> {
  const token = await access.token();
  if (token === null) throw new ReauthNeededError("The connection has no token");
  const answer = await send(token);
  if (answer.status !== 401) return answer;
  const fresh = await access.token(token);
  const again = fresh === null || fresh === token ? answer : await send(fresh);
  if (again.status === 401) throw new ReauthNeededError("The provider does not take the token any more");
  return again;
}

/** The object in a good answer. 5xx may pass by itself, everything else will not. */
export function objectIn(answer: ProviderResponse, name: string): Json {
  if (answer.status !== 200) {
    throw new ProviderError(`${name} answered with status ${answer.status}`, answer.status >= 500);
  }
  return asObject(answer.json(), name);
}

export function asObject(value: unknown, name: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new ProviderError(`${name} answered with JSON of another shape than documented`, false);
}

/** A list of an answer; what a provider may send at once is bounded by what it was asked for. */
export function listIn(value: unknown, name: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) {
    throw new ProviderError(`${name} answered with JSON of another shape than documented`, false);
  }
  if (value.length > most)
    throw new ProviderError(`${name} answered with more plays than were asked for`, false);
  return value;
}

/** A whole number in a cursor, which may be of an older version or damaged; else null. */
export function wholeNumber(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
