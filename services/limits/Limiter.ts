/**
 * Counts requests against limits that all processes share, without asking Redis about each of them.
 *
 * A process takes requests out of a window in advance, a fiftieth of the limit at a time, and spends them from memory; what
 * it has not spent by the end of a slice goes back. It asks for more in the background while it still has some, so a
 * request waits for Redis only when its process has run ahead by as much again, or when little is left. In one process the
 * limit is exact, and each process more may admit a fiftieth above it. Limits below 100 are asked about each time.
 *
 * While Redis is away each process counts by itself, from what it had seen before.
 */
import { shortHash } from "../../utils/shortHash.js";
import type { RedisService } from "../cache/RedisService.js";
import { BoundedMap } from "./BoundedMap.js";
import { LocalWindows } from "./LocalWindows.js";
import { type Policy, sliceMs, type Verdict } from "./policies.js";
import { type RedisWindow, takeFromRedis } from "./redisWindows.js";

const LEASES_PER_WINDOW = 50;
/** Counters in memory, about 400 bytes each. */
const MAX_COUNTERS = 20_000;

/** How many requests are taken in advance; below 2, none are. */
const leaseOf = ({ max }: Policy): number => Math.floor(max / LEASES_PER_WINDOW);

/** Nobody reads in Redis who or what a window belongs to. */
const keyOf = (policy: string, subject: string): string => `limit:${policy}:${shortHash(subject)}`;

interface Counter {
  readonly key: string;
  readonly policy: Policy;
  /** Taken and not spent; until when they may be, and the slice of Redis they came from (null: this process's memory). */
  leased: number;
  leaseUntil: number;
  leaseSlice: string | null;
  /** Spent and not taken yet. */
  owed: number;
  /** What is being asked for, and how much of it is owed. */
  asked: number;
  askedOwed: number;
  /** As the last answer said. */
  remaining: number;
  resetAt: number;
  /** Nothing more is to be had before. */
  refusedUntil: number;
  waiting: number;
  asking: Promise<void> | undefined;
}

/** A window in which `Limiter.attempt` counts. */
export interface Counted {
  readonly policy: Policy;
  readonly subject: string;
}

export interface Attempt {
  readonly verdict: Verdict;
  /** What it took and could give back. */
  readonly taken: readonly RedisWindow[];
}

export class Limiter {
  readonly #redis: RedisService;
  readonly #now: () => number;
  readonly #local: LocalWindows;
  readonly #counters = new BoundedMap<string, Counter>(MAX_COUNTERS);
  readonly #spared = new BoundedMap<string, true>(MAX_COUNTERS);

  /** @param now monotonic milliseconds; for tests */
  constructor(redis: RedisService, now: () => number = () => performance.now()) {
    this.#redis = redis;
    this.#now = now;
    this.#local = new LocalWindows(now);
  }

  /** Counts one request of `subject` (a user, an address). Never rejects. */
  async take(policy: Policy, subject: string): Promise<Verdict> {
    const counter = this.#counter(policy, subject);
    const lease = leaseOf(policy);
    const ahead = lease < 2 ? 0 : lease;
    for (;;) {
      const spent = this.#spend(counter, this.#now());
      if (spent !== undefined) return spent;
      const refused = counter.refusedUntil > this.#now();
      if (refused) return this.#verdict(counter, false);
      const known = counter.remaining - counter.asked - (counter.owed - counter.askedOwed);
      if (counter.owed < ahead && known > 0) {
        counter.owed += 1;
        void this.#ask(counter, lease);
        return this.#verdict(counter, true);
      }
      counter.waiting += 1;
      await this.#ask(counter, lease);
      counter.waiting -= 1;
    }
  }

  /** As `take`, of what was taken in advance; undefined, and nothing counted, when there is nothing left of it. */
  spend(policy: Policy, subject: string): Verdict | undefined {
    return this.#spend(this.#counter(policy, subject), this.#now());
  }

  #spend(counter: Counter, now: number): Verdict | undefined {
    if (counter.leased <= 0 || counter.leaseUntil <= now) return undefined;
    counter.leased -= 1;
    const lease = leaseOf(counter.policy);
    if (lease >= 2 && counter.leased < lease / 2 && counter.refusedUntil <= now)
      void this.#ask(counter, lease);
    return this.#verdict(counter, true);
  }

  /** What `take` left behind, without a request. */
  status(policy: Policy, subject: string): Verdict {
    const counter = this.#counter(policy, subject);
    return this.#verdict(counter, counter.refusedUntil <= this.#now());
  }

  /**
   * Counts one request that has to fit into each of the windows, or counts it in none. The last one does not matter to a
   * `device` that was `spare`d it. The verdict is that of the tightest. Asks Redis each time; never rejects.
   */
  async attempt(counted: readonly Counted[], device: string): Promise<Attempt> {
    const windows = counted.map(({ policy, subject }) => ({ policy, key: keyOf(policy.name, subject) }));
    const spared = keyOf("spared", device);
    const fromRedis = await takeFromRedis(this.#redis, windows, 1, spared);
    if (fromRedis === undefined) {
      const looked = this.#spared.has(spared) ? windows.slice(0, -1) : windows;
      const grants = this.#local.take(looked, 1);
      return { verdict: tightest(looked, grants), taken: looked };
    }
    const looked = windows.slice(0, fromRedis.length);
    const taken = looked.map((window, index) => {
      const { granted, slice } = fromRedis[index]!;
      this.#local.add(window.key, window.policy, granted);
      return { ...window, back: { count: granted, slice } };
    });
    return { verdict: tightest(looked, fromRedis), taken };
  }

  /** Undoes an attempt that told nobody anything. Never rejects. */
  async giveBack({ taken }: Attempt): Promise<void> {
    for (const { key, policy } of taken) this.#local.add(key, policy, -1);
    const ofRedis = taken.filter(({ back }) => back !== undefined);
    if (ofRedis.length > 0) await takeFromRedis(this.#redis, ofRedis, 0);
  }

  /** Gives an attempt back that was right, and spares `device` the last window from now on. Never rejects. */
  async spare(attempt: Attempt, device: string, days: number): Promise<void> {
    const spared = keyOf("spared", device);
    this.#spared.set(spared, true);
    await Promise.all([this.giveBack(attempt), this.#redis.set(spared, "1", days * 86_400)]);
  }

  #verdict(counter: Counter, allowed: boolean): Verdict {
    const { policy, leased, owed, remaining, resetAt } = counter;
    const left = resetAt - this.#now();
    return {
      allowed,
      policy,
      remaining: allowed ? Math.max(0, remaining + leased - owed) : 0,
      resetMs: left > 0 ? left : policy.windowMs,
    };
  }

  /** One question at a time for each counter; whoever comes meanwhile waits for the same. */
  #ask(counter: Counter, lease: number): Promise<void> {
    return (counter.asking ??= this.#refill(counter, lease).finally(() => {
      counter.asking = undefined;
    }));
  }

  async #refill(counter: Counter, lease: number): Promise<void> {
    await Promise.resolve(); // those who come in this same moment are counted among the waiting
    const { key, policy, owed } = counter;
    const back = this.#takeBack(counter);
    const want = owed + Math.max(lease, counter.waiting, 1);
    counter.asked = want;
    counter.askedOwed = owed;
    const window = back === undefined ? { key, policy } : { key, policy, back };
    const fromRedis = await takeFromRedis(this.#redis, [window], want);
    const grant = fromRedis?.[0] ?? this.#local.take([counter], want)[0]!;
    if (fromRedis !== undefined) this.#local.add(key, policy, grant.granted - (back?.count ?? 0));

    const now = this.#now();
    counter.asked = 0;
    counter.askedOwed = 0;
    counter.owed -= owed; // what was refused of it is forgiven
    counter.leased += Math.max(0, grant.granted - owed);
    counter.leaseUntil = now + sliceMs(policy);
    counter.leaseSlice = fromRedis?.[0]?.slice ?? null;
    counter.remaining = grant.remaining;
    counter.resetAt = now + grant.resetMs;
    if (grant.granted === 0) counter.refusedUntil = counter.resetAt;
  }

  /** Takes a lease away that is over, and says what of it Redis is to get back. */
  #takeBack(counter: Counter): RedisWindow["back"] {
    const { key, policy, leased: count, leaseSlice: slice } = counter;
    if (count === 0 || counter.leaseUntil > this.#now()) return undefined;
    counter.leased = 0;
    if (slice !== null) return { count, slice };
    this.#local.add(key, policy, -count);
    return undefined;
  }

  #counter(policy: Policy, subject: string): Counter {
    const name = `${policy.name} ${subject}`;
    const known = this.#counters.get(name);
    if (known !== undefined) return known;
    const counter: Counter = {
      key: keyOf(policy.name, subject),
      policy,
      leased: 0,
      leaseUntil: 0,
      leaseSlice: null,
      owed: 0,
      asked: 0,
      askedOwed: 0,
      remaining: policy.max,
      resetAt: 0,
      refusedUntil: 0,
      waiting: 0,
      asking: undefined,
    };
    this.#counters.set(name, counter);
    return counter;
  }
}

function tightest(
  windows: readonly { readonly policy: Policy }[],
  grants: readonly { readonly granted: number; readonly remaining: number; readonly resetMs: number }[],
): Verdict {
  const verdicts = grants.map(({ granted, remaining, resetMs }, index) => ({
    allowed: granted > 0,
    policy: windows[index]!.policy,
    remaining,
    resetMs,
  }));
  return verdicts.reduce((a, b) =>
    a.remaining < b.remaining || (a.remaining === b.remaining && a.resetMs >= b.resetMs) ? a : b,
  );
}
