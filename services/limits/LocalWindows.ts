/**
 * Limits in the memory of one process, for while Redis is away. Counts on the monotonic clock: a clock that is set does
 * not empty a window.
 */
import { BoundedMap } from "./BoundedMap.js";
import { type Grant, type Policy, sliceMs, SLICES } from "./policies.js";

/** Windows kept, a few hundred bytes each. */
const MAX_WINDOWS = 20_000;

/** Number of a slice → requests in it. */
type Window = Map<number, number>;

export class LocalWindows {
  readonly #windows = new BoundedMap<string, Window>(MAX_WINDOWS);
  readonly #now: () => number;

  /** @param now monotonic milliseconds */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes up to `want` out of each window, the same number out of all. */
  take(windows: readonly { readonly key: string; readonly policy: Policy }[], want: number): Grant[] {
    const rooms = windows.map(({ key, policy }) => Math.max(0, policy.maxAlone - this.#used(key, policy)));
    const granted = Math.min(want, ...rooms);
    return windows.map(({ key, policy }, index) => {
      this.add(key, policy, granted);
      return { granted, remaining: rooms[index]! - granted, resetMs: this.#resetMs(key, policy) };
    });
  }

  /** Counts what Redis granted, so that its outage gives nobody a fresh window; less than 0: what it got back. */
  add(key: string, policy: Policy, count: number): void {
    if (count === 0) return;
    const window = this.#windows.get(key) ?? new Map<number, number>();
    const slice = this.#slice(policy);
    window.set(slice, Math.max(0, (window.get(slice) ?? 0) + count));
    this.#forget(window, slice);
    this.#windows.set(key, window);
  }

  #used(key: string, policy: Policy): number {
    const window = this.#windows.get(key);
    if (window === undefined) return 0;
    this.#forget(window, this.#slice(policy));
    let used = 0;
    for (const count of window.values()) used += count;
    return used;
  }

  #resetMs(key: string, policy: Policy): number {
    const window = this.#windows.get(key) ?? new Map<number, number>();
    let oldest = this.#slice(policy);
    for (const [slice, count] of window) if (count > 0) oldest = Math.min(oldest, slice);
    return Math.max(1, (oldest + SLICES + 1) * sliceMs(policy) - this.#now());
  }

  #slice(policy: Policy): number {
    return Math.floor(this.#now() / sliceMs(policy));
  }

  #forget(window: Window, current: number): void {
    for (const slice of window.keys()) if (slice < current - SLICES) window.delete(slice);
  }
}
