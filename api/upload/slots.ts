import { TooManyRequestsError } from "../../utils/errors.js";

const RETRY_AFTER_SECONDS = 10;

/** How many uploads each user has under way in this process. */
export class UploadSlots {
  readonly #max: number;
  readonly #taken = new Map<string, number>();

  constructor(maxPerUser: number) {
    this.#max = maxPerUser;
  }

  /** Runs `work` in one of the user's slots; throws `TooManyRequestsError` when all are taken. */
  async run<T>(userId: string, work: () => Promise<T>): Promise<T> {
    const taken = this.#taken.get(userId) ?? 0;
    if (taken >= this.#max) {
      const message = `At most ${this.#max} uploads at once`;
      throw new TooManyRequestsError(RETRY_AFTER_SECONDS, message, "too_many_uploads");
    }
    this.#taken.set(userId, taken + 1);
    try {
      return await work();
    } finally {
      const left = (this.#taken.get(userId) ?? 1) - 1;
      if (left === 0) this.#taken.delete(userId);
      else this.#taken.set(userId, left);
    }
  }
}
