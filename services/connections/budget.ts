/**
 * How often playlog asks a provider. Limits of providers hold for a client id (or an address), so all who share one share
 * its budget; others never notice. Two rules: nobody asks before the time that the provider named in a 429, and requests go
 * out no faster than a rate, those who have waited longest first.
 *
 * Shared by all processes through Redis. While Redis is away each process keeps its own, which at worst earns a 429.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { shortHash } from "../../utils/shortHash.js";
import type { RedisService } from "../cache/RedisService.js";
import { BoundedMap } from "../limits/BoundedMap.js";
import { asked, blocked, LocalShare, type Turn } from "./budgetRules.js";
import { RateLimitedError } from "./errors.js";

/** Requests that share a limit. */
export interface Share {
  /** Provider and client id; or the provider's host where the limit goes by address. */
  readonly name: string;
  readonly perSecond: number;
  /** Requests that may go out at once after a rest. */
  readonly burst: number;
}

/** Up to here a turn is waited for on the spot; a longer wait is handed up, to be slept durably. */
const WAIT_HERE_MS = 3000;
/** After this Redis forgets a share that nobody has used; longer than any 429. */
const REMEMBERED_S = 25 * 60 * 60;
const MAX_SHARES = 1000;

export class Budget {
  readonly #redis: RedisService;
  readonly #now: () => number;
  readonly #local = new BoundedMap<string, LocalShare>(MAX_SHARES);

  /** @param now Unix milliseconds; for tests */
  constructor(redis: RedisService, now: () => number = Date.now) {
    this.#redis = redis;
    this.#now = now;
  }

  /** Resolves when `who` may send one request. Throws RateLimitedError when that is not soon, or the signal's reason. */
  async take(share: Share, who: string, signal?: AbortSignal): Promise<void> {
    const giveUpAt = this.#now() + WAIT_HERE_MS;
    for (;;) {
      signal?.throwIfAborted();
      const now = this.#now();
      const { granted, at } = await this.#turn(share, who, now);
      if (granted) return;
      if (at > giveUpAt) throw new RateLimitedError(at);
      await this.#pause(at - now, signal);
    }
  }

  /** Nobody who shares it asks before `until`, Unix milliseconds. Never rejects. */
  async block(share: Share, until: number): Promise<void> {
    this.#ofProcess(share).block(until);
    await this.#redis.evaluate(blocked, keysOf(share), [until, REMEMBERED_S]);
  }

  async #turn(share: Share, who: string, now: number): Promise<Turn> {
    // What this process was told holds even when Redis has forgotten it.
    const { notBefore } = this.#ofProcess(share);
    if (notBefore > now) return { granted: false, at: notBefore };
    const args = [now, share.perSecond, share.burst, who, REMEMBERED_S];
    const answer = await this.#redis.evaluate(asked, keysOf(share), args);
    if (!Array.isArray(answer)) return this.#ofProcess(share).ask(who, now);
    return { granted: Number(answer[0]) === 1, at: Number(answer[1]) };
  }

  #ofProcess(share: Share): LocalShare {
    const known = this.#local.get(share.name);
    if (known !== undefined) return known;
    const fresh = new LocalShare(share);
    this.#local.set(share.name, fresh);
    return fresh;
  }

  async #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    try {
      await sleep(Math.max(ms, 1), undefined, signal === undefined ? {} : { signal });
    } catch (cause) {
      throw signal?.aborted === true ? signal.reason : cause;
    }
  }
}

/** Nobody reads a client id in Redis. Braces keep both on one node of a cluster. */
function keysOf({ name }: Share): string[] {
  const digest = shortHash(name);
  return [`budget:{${digest}}`, `budget:{${digest}}:waiting`];
}
