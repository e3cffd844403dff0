/** The rules of a budget, once for Redis and once for a process without it. Times are Unix milliseconds. */
import type { RedisScript } from "../cache/RedisService.js";
import type { Share } from "./budget.js";

/** Whether a request may go out now; else when it is worth asking again. */
export interface Turn {
  readonly granted: boolean;
  readonly at: number;
}

/** Whoever has not asked again so long after their turn has given up, and holds up nobody. */
const GIVEN_UP_MS = 60_000;

/**
 * KEYS: the share (tokens, when they were counted, not before), and who waits ("since turn"): few, for only syncs under way
 * ask. ARGV: now, tokens a second, most tokens, who, seconds to remember. Answers: granted, when to ask again.
 */
export const asked: RedisScript = {
  name: "playlogBudget",
  lua: `
local now, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local who = ARGV[4]
local share = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'until')
local notBefore = tonumber(share[3] or '0') or 0
if notBefore > now then return {0, string.format('%.0f', notBefore)} end
local tokens, at = tonumber(share[1] or '') or burst, tonumber(share[2] or '') or now
tokens = math.min(burst, tokens + math.max(0, now - at) / 1000 * rate)
local since, ahead = now, 0
local waiting = redis.call('HGETALL', KEYS[2])
for i = 1, #waiting, 2 do
  if waiting[i] == who then since = tonumber(string.match(waiting[i + 1], '^%d+')) end
end
for i = 1, #waiting, 2 do
  local first, turn = string.match(waiting[i + 1], '^(%d+) (%d+)$')
  if tonumber(turn) + ${GIVEN_UP_MS} < now then
    redis.call('HDEL', KEYS[2], waiting[i])
  elseif waiting[i] ~= who and (tonumber(first) < since or (tonumber(first) == since and waiting[i] < who)) then
    ahead = ahead + 1
  end
end
local granted = tokens >= ahead + 1
local turn = now
if granted then
  tokens = tokens - 1
  redis.call('HDEL', KEYS[2], who)
else
  turn = now + math.ceil((ahead + 1 - tokens) / rate * 1000)
  redis.call('HSET', KEYS[2], who, string.format('%.0f %.0f', since, turn))
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {granted and 1 or 0, string.format('%.0f', turn)}`,
};

/** KEYS: as above. ARGV: until, seconds to remember. A later time stands. */
export const blocked: RedisScript = {
  name: "playlogBudgetBlock",
  lua: `
local known = tonumber(redis.call('HGET', KEYS[1], 'until') or '0') or 0
if tonumber(ARGV[1]) > known then redis.call('HSET', KEYS[1], 'until', ARGV[1]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1`,
};

/** The same in memory. */
export class LocalShare {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #waiting = new Map<string, { readonly since: number; readonly turn: number }>();
  #tokens: number;
  #countedAt = 0;
  #notBefore = 0;

  constructor({ perSecond, burst }: Share) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
  }

  get notBefore(): number {
    return this.#notBefore;
  }

  block(until: number): void {
    this.#notBefore = Math.max(this.#notBefore, until);
  }

  ask(who: string, now: number): Turn {
    if (this.#notBefore > now) return { granted: false, at: this.#notBefore };
    const refilled = (Math.max(0, now - this.#countedAt) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + refilled);
    this.#countedAt = now;
    const since = this.#waiting.get(who)?.since ?? now;
    let ahead = 0;
    for (const [other, { since: first, turn }] of this.#waiting) {
      if (turn + GIVEN_UP_MS < now) this.#waiting.delete(other);
      else if (other !== who && (first < since || (first === since && other < who))) ahead += 1;
    }
    if (this.#tokens >= ahead + 1) {
      this.#tokens -= 1;
      this.#waiting.delete(who);
      return { granted: true, at: now };
    }
    const turn = now + Math.ceil(((ahead + 1 - this.#tokens) / this.#perSecond) * 1000);
    this.#waiting.set(who, { since, turn });
    return { granted: false, at: turn };
  }
}
