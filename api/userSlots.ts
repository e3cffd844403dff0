import type { TooManyRequestsError } from "../utils/errors.js";

/** How many of one kind of long request each user has under way in this process. */
export class UserSlots {
  readonly #max: number;
  readonly #refusal: () => TooManyRequestsError;
  readonly #taken = new Map<string, number>();

  constructor(maxPerUser: number, refusal: () => TooManyRequestsError) {
    this.#max = maxPerUser;
    this.#refusal = refusal;
  }

  /** Runs `work` in one of the user's slots; throws the refusal when all are taken. */
  async run<T>(userId: string, work: () => Promise<T>): Promise<T> {
    const free = this.take(userId);
    try {
      return await work();
    } finally {
      free();
    }
  }

  /** Takes one of the user's slots; the function, to be called once, frees it. Throws the refusal when all are taken. */
  take(userId: string): () => void {
    const taken = this.#taken.get(userId) ?? 0;
    if (taken >= this.#max) throw this.#refusal();
    this.#taken.set(userId, taken + 1);
    return () => {
      const left = (this.#taken.get(userId) ?? 1) - 1;
      if (left === 0) this.#taken.delete(userId);
      else this.#taken.set(userId, left);
    };
  }
}
