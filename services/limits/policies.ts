/** What a limit is, and what it answers. */

/** At most `max` requests in any `windowMs`. */
export interface Policy {
  /** Letters and hyphens: part of keys in Redis, and shown to clients. */
  readonly name: string;
  readonly max: number;
  readonly windowMs: number;
  /** What one process allows by itself while Redis is away. */
  readonly maxAlone: number;
}

export interface Verdict {
  readonly allowed: boolean;
  readonly policy: Policy;
  /** Requests left after this one, as far as this process knows. */
  readonly remaining: number;
  /** Until some of what was used is free again. */
  readonly resetMs: number;
}

/** What was taken from one window; `granted` may be less than what was wanted, down to 0. */
export interface Grant {
  readonly granted: number;
  readonly remaining: number;
  readonly resetMs: number;
}

/**
 * A window is counted in so many slices; what happened in a slice is forgotten when all of it is older than the window. So never
 * more than `max` fit into any stretch as long as a window, and who used them up waits for at most a tenth longer than needed.
 */
export const SLICES = 10;

/** Whole milliseconds; Redis and each process cut time in the same way, each by its own clock. */
export const sliceMs = ({ windowMs }: Policy): number => Math.max(1, Math.floor(windowMs / SLICES));
