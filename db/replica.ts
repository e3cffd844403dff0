/**
 * Reads that may be answered by a replica, and whether this one may. What somebody has written must be in everything that
 * is read afterwards, so a scope that changed is read from the primary until the replica has the change; and a replica that
 * is down, slow, far behind or wrong costs nobody an answer, because the primary is asked instead. See docs/adr/0019.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Logger } from "../utils/logger.js";
import { sqlState, unavailability } from "./errors.js";
import type { DatabaseListener } from "./listener.js";
import { CHANGE_CHANNEL, parseChange, type Scope, scopeKey } from "./queries/cacheVersions.js";
import type { ReplicaProblem, ReplicaState, ReplicaWatch } from "./replicaWatch.js";

/** replica, primary: where a read was answered. retried: by the primary, after the replica had failed. */
export type ReadPlace = "replica" | "primary" | "retried";

export interface ReplicaReport extends Omit<ReplicaState, "problem"> {
  readonly state: "up" | "down";
  /** Why reads go to the primary. behind: more than REPLICA_MAX_LAG_MS. failing: its last answers were errors. */
  readonly problem: ReplicaProblem | "behind" | "failing" | null;
}

export interface Reads {
  /**
   * The result of `work`, which only reads, with the connections of the replica or of the primary. When the replica fails it
   * runs again on the primary: it must change nothing outside itself.
   * @param scopes all that the result depends on and that somebody may just have changed
   */
  run<T>(scopes: readonly Scope[], work: (pool: pg.Pool) => Promise<T>): Promise<T>;
  /** To be told when the primary was asked about these scopes: no later read may show less than that answer. */
  sawPrimary(scopes: readonly Scope[]): void;
  /** The replica as it is now, for people; null when there is none. */
  report(): Promise<ReplicaReport | null>;
}

/** For a service without a replica. */
export const primaryReads = (pool: pg.Pool): Reads => ({
  run: (_scopes, work) => work(pool),
  sawPrimary: () => undefined,
  report: () => Promise.resolve(null),
});

export interface ReplicaConnections {
  readonly pool: pg.Pool;
  readonly watch: ReplicaWatch;
  readonly maxLagMs: number;
}

export interface ReplicaReadsOptions {
  readonly primary: pg.Pool;
  readonly replica: ReplicaConnections;
  /** Not started yet. */
  readonly listener: DatabaseListener;
  readonly log: Logger;
  readonly observe?: (place: ReadPlace) => void;
}

/** Changes remembered until the replica has them. */
const MAX_CHANGES = 20_000;
/** Failures in a row after which the replica is left alone, and then tried by one read in so many milliseconds. */
const FAILURES = 3;
const REST_MS = 1000;
/** How long a report looks again at a replica that is not level: one look cannot tell it from one that is stuck. */
const LOOK_AGAIN_FOR_MS = 500;
const LOOK_AGAIN_MS = 50;
/** A statement the replica ends because it is in the way of what comes from the primary. Says nothing about its health. */
const RECOVERY_CONFLICT = "40001";

export class ReplicaReads implements Reads {
  readonly #primary: pg.Pool;
  readonly #replica: ReplicaConnections;
  readonly #listener: DatabaseListener;
  readonly #log: Logger;
  readonly #observe: (place: ReadPlace) => void;
  /** Scope → when its last change was heard of, on the monotonic clock; in that order. */
  readonly #changed = new Map<string, number>();
  /** Before this moment anything may have changed without having been heard of. */
  #deafUntil = Infinity;
  #failures = 0;
  #restUntil = -Infinity;
  #reported: ReplicaProblem | null = "unknown";

  constructor({ primary, replica, listener, log, observe = () => undefined }: ReplicaReadsOptions) {
    this.#primary = primary;
    this.#replica = replica;
    this.#listener = listener;
    this.#log = log;
    this.#observe = observe;
    listener.subscribe(CHANGE_CHANNEL, {
      received: (payload) => {
        const change = parseChange(payload);
        if (change !== null) this.#note(change.key);
      },
      listening: () => {
        this.#deafUntil = performance.now();
        return Promise.resolve();
      },
      lost: () => {
        this.#deafUntil = Infinity;
        this.#changed.clear();
      },
    });
  }

  async run<T>(scopes: readonly Scope[], work: (pool: pg.Pool) => Promise<T>): Promise<T> {
    this.#replica.watch.wanted();
    this.#report();
    if (!this.#has(scopes) || !this.#mayTry()) {
      this.#observe("primary");
      return work(this.#primary);
    }
    try {
      const result = await this.#unlessLost(work(this.#replica.pool));
      this.#failures = 0;
      this.#observe("replica");
      return result;
    } catch (error) {
      if (!isTrouble(error)) throw error;
      if (sqlState(error) !== RECOVERY_CONFLICT) this.#failed(error);
    }
    this.#observe("retried");
    return work(this.#primary);
  }

  sawPrimary(scopes: readonly Scope[]): void {
    for (const scope of scopes) this.#note(scopeKey(scope));
  }

  async report(): Promise<ReplicaReport> {
    const { watch, maxLagMs } = this.#replica;
    const isLate = ({ lagMs }: ReplicaState): boolean => lagMs === null || lagMs > maxLagMs;
    const begun = performance.now();
    let state = await watch.check();
    while (state.problem === null && isLate(state) && performance.now() - begun < LOOK_AGAIN_FOR_MS) {
      await sleep(LOOK_AGAIN_MS);
      state = await watch.check();
    }
    const { problem, ...figures } = state;
    return {
      state: problem === "down" || problem === "unknown" ? "down" : "up",
      problem: problem ?? (isLate(state) ? "behind" : this.#failures >= FAILURES ? "failing" : null),
      ...figures,
    };
  }

  /** Whether the replica has everything of these scopes that this process can know of. */
  #has(scopes: readonly Scope[]): boolean {
    const { freshUntil } = this.#replica.watch;
    if (performance.now() - freshUntil > this.#replica.maxLagMs) return false;
    if (!this.#listener.trusted || freshUntil <= this.#deafUntil) return false;
    return scopes.every((scope) => (this.#changed.get(scopeKey(scope)) ?? -Infinity) < freshUntil);
  }

  #note(key: string): void {
    const { freshUntil } = this.#replica.watch;
    this.#changed.delete(key);
    this.#changed.set(key, performance.now());
    for (const [oldest, at] of this.#changed) {
      const forgotten = this.#changed.size > MAX_CHANGES;
      if (at >= freshUntil && !forgotten) break;
      this.#changed.delete(oldest);
      if (forgotten) this.#deafUntil = Math.max(this.#deafUntil, at);
    }
  }

  /** The promise's own end, or a failure as soon as the replica is known to be lost. */
  #unlessLost<T>(reading: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const forget = this.#replica.watch.onLost(() => reject(new ReplicaLost()));
      reading.then(resolve, reject).finally(forget);
    });
  }

  #mayTry(): boolean {
    if (this.#failures < FAILURES) return true;
    const now = performance.now();
    if (now < this.#restUntil) return false;
    this.#restUntil = now + REST_MS;
    return true;
  }

  #failed(error: unknown): void {
    this.#failures += 1;
    if (this.#failures !== FAILURES) return;
    this.#restUntil = performance.now() + REST_MS;
    this.#log.warn("reads fail on the replica; the primary answers them", { error });
  }

  /** One line per change of state. */
  #report(): void {
    const { problem } = this.#replica.watch.state;
    if (problem === this.#reported) return;
    this.#reported = problem;
    if (problem === null) this.#log.info("the replica may be read");
    else this.#log.warn("the replica cannot be read; the primary answers instead", { problem });
  }
}

class ReplicaLost extends Error {}

/** Of the database, not of what was asked for: the primary may do better. */
const isTrouble = (error: unknown): boolean =>
  error instanceof ReplicaLost || sqlState(error) !== null || unavailability(error) !== null;
