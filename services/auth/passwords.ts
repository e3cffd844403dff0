/**
 * Passwords: bcrypt over a keyed pre-hash, a few at a time. bcrypt alone reads 72 bytes and stops at NUL; the
 * pre-hash makes every byte count. The hashes run in the thread pool that files also need, so they pass a gate.
 */
import { createHmac, randomBytes } from "node:crypto";
import { availableParallelism } from "node:os";
import bcrypt from "bcrypt";
import { UnavailableError } from "../../utils/errors.js";
import { Turns } from "../../utils/Turns.js";

/** In code points, after NFKC. */
export const PASSWORD_LENGTH = { min: 12, max: 256 } as const;

/** Separates these HMACs from all others; no secret, and changing it makes every stored hash useless. */
const DOMAIN = "playlog password v1";
const MAX_WAITING = 32;
const MAX_WAIT_MS = 2000;

/** What counts as the password: one spelling for all ways a keyboard may compose it. */
export const normalisePassword = (password: string): string => password.normalize("NFKC");

/** 64 ASCII characters. */
const prehash = (password: string): string =>
  createHmac("sha384", DOMAIN).update(normalisePassword(password), "utf8").digest("base64");

export interface PasswordHasherOptions {
  readonly cost: number;
  /** Hashes at once; one core stays free for everything else. */
  readonly parallel?: number;
}

export class PasswordHasher {
  readonly #cost: number;
  readonly #gate: Gate;
  #dummy: Promise<string> | undefined;

  constructor({ cost, parallel = Math.max(1, availableParallelism() - 1) }: PasswordHasherOptions) {
    this.#cost = cost;
    this.#gate = new Gate(parallel, MAX_WAITING, MAX_WAIT_MS);
  }

  /** Throws `UnavailableError("busy")` when its turn would not come within two seconds. */
  hash(password: string): Promise<string> {
    return this.#gate.run(() => bcrypt.hash(prehash(password), this.#cost));
  }

  /**
   * Without a stored hash the work is the same and the answer is no, so that time does not tell which accounts
   * exist. Throws like `hash`.
   */
  async verify(password: string, hash: string | null): Promise<boolean> {
    const target = hash ?? (await this.#dummyHash());
    const equal = await this.#gate.run(() => bcrypt.compare(prehash(password), target));
    return equal && hash !== null;
  }

  #dummyHash(): Promise<string> {
    return (this.#dummy ??= bcrypt.hash(randomBytes(32).toString("base64"), this.#cost));
  }
}

/**
 * Lets `parallel` jobs run at once and `maxWaiting` wait in order. A newcomer is refused at once when, at the pace of
 * late jobs, its turn would come after `maxWaitMs`; one that waited that long is refused then.
 */
export class Gate {
  readonly #turns: Turns;
  /** Moving average of how long a job takes. */
  #jobMs = 0;

  constructor(
    readonly parallel: number,
    readonly maxWaiting: number,
    readonly maxWaitMs: number,
  ) {
    this.#turns = new Turns({ parallel, maxWaiting, maxWaitMs, busy });
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    if ((this.#turns.ahead / this.parallel) * this.#jobMs > this.maxWaitMs) throw busy();
    return this.#turns.run(async () => {
      const started = performance.now();
      try {
        return await job();
      } finally {
        const took = performance.now() - started;
        this.#jobMs = this.#jobMs === 0 ? took : this.#jobMs * 0.8 + took * 0.2;
      }
    });
  }
}

const busy = (): UnavailableError =>
  new UnavailableError("busy", "Too many people are signing in at this moment", 2);
