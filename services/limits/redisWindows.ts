/**
 * Limits shared by all processes, counted in Redis by Redis's clock: one hash a window, slice → requests. One script, so
 * nobody counts in between; hashes expire with their last slice.
 */
import type { RedisScript, RedisService } from "../cache/RedisService.js";
import { type Grant, type Policy, sliceMs, SLICES } from "./policies.js";

/**
 * KEYS: one for each window, and with ARGV[2] = 1 one more, whose existence spares the last window.
 * ARGV: how many are wanted, the flag, then for each window: max, slice in ms, how many to give back, and to which slice.
 * Answers for each window: granted, remaining, reset in ms, the slice now. All windows grant the same number. A slice of the
 * future comes of a clock that was set back, and would count for ever.
 */
const SCRIPT: RedisScript = {
  name: "playlogLimit",
  lua: `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local granted = tonumber(ARGV[1])
local count = #KEYS
if ARGV[2] == '1' then
  count = count - 1
  if redis.call('EXISTS', KEYS[#KEYS]) == 1 then count = count - 1 end
end
local windows = {}
for i = 1, count do
  local at = 3 + (i - 1) * 4
  local max, width, back = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local current = math.floor(now / width)
  if back > 0 and redis.call('HEXISTS', KEYS[i], ARGV[at + 3]) == 1 then
    redis.call('HINCRBY', KEYS[i], ARGV[at + 3], -back)
  end
  local used, oldest = 0, current
  local fields = redis.call('HGETALL', KEYS[i])
  for f = 1, #fields, 2 do
    local slice, requests = tonumber(fields[f]), tonumber(fields[f + 1])
    if slice < current - ${SLICES} or slice > current or requests <= 0 then
      redis.call('HDEL', KEYS[i], fields[f])
    else
      used = used + requests
      if slice < oldest then oldest = slice end
    end
  end
  windows[i] = { room = math.max(0, max - used), width = width, current = current, oldest = oldest }
  granted = math.min(granted, windows[i].room)
end
local answer = {}
for i = 1, count do
  local window = windows[i]
  if granted > 0 then
    redis.call('HINCRBY', KEYS[i], string.format('%.0f', window.current), granted)
    redis.call('PEXPIRE', KEYS[i], string.format('%.0f', window.width * ${SLICES + 2}))
  end
  answer[#answer + 1] = granted
  answer[#answer + 1] = window.room - granted
  answer[#answer + 1] = (window.oldest + ${SLICES + 1}) * window.width - now
  answer[#answer + 1] = string.format('%.0f', window.current)
end
return answer`,
};

export interface RedisWindow {
  readonly key: string;
  readonly policy: Policy;
  /** Granted earlier and not used: put back into the slice it came from, if that still counts. */
  readonly back?: { readonly count: number; readonly slice: string };
}

export interface RedisGrant extends Grant {
  /** Redis's number of the slice in which it was granted. */
  readonly slice: string;
}

/**
 * Takes up to `want` out of each window, the same number out of all. With `sparedBy`, the last window does not count
 * while that key exists, and is missing in the answer then. Undefined when Redis does not answer, or refuses.
 */
export async function takeFromRedis(
  redis: RedisService,
  windows: readonly RedisWindow[],
  want: number,
  sparedBy?: string,
): Promise<readonly RedisGrant[] | undefined> {
  const keys = [...windows.map(({ key }) => key), ...(sparedBy === undefined ? [] : [sparedBy])];
  const args = windows.flatMap(({ policy, back }) => [
    policy.max,
    sliceMs(policy),
    back?.count ?? 0,
    back?.slice ?? "",
  ]);
  const answer = await redis.evaluate(SCRIPT, keys, [want, sparedBy === undefined ? 0 : 1, ...args]);
  if (!Array.isArray(answer)) return undefined;
  const grants: RedisGrant[] = [];
  for (let at = 0; at + 3 < answer.length; at += 4) {
    grants.push({
      granted: Number(answer[at]),
      remaining: Number(answer[at + 1]),
      resetMs: Math.max(1, Number(answer[at + 2])),
      slice: String(answer[at + 3]),
    });
  }
  return grants;
}
