/** What a process knows of its own attempts at parts: which ended in order, and which one must run alone. */

/** One for all parts of a process. */
export class PartAttempts {
  readonly #ended = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  /** Remembers an attempt that ended in order while the database could not be told. */
  endedInOrder(importId: string, partNo: number): void {
    this.#ended.add(`${importId}:${partNo}`);
  }

  /** Whether the last attempt of this process at this part ended in order; forgets it. */
  takeEndedInOrder(importId: string, partNo: number): boolean {
    return this.#ended.delete(`${importId}:${partNo}`);
  }

  /**
   * Lets one at a time work, in the order they came. A part over which workers have died before is read so: when this
   * process dies as well, no other such part can be blamed for it. Throws the signal's reason when it aborts before.
   */
  async alone<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    let release = (): void => {};
    const mine = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#last = before.then(() => mine);
    try {
      await orAborted(before, signal);
      return await work();
    } finally {
      release();
    }
  }
}

function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    void promise.then(() => {
      signal.removeEventListener("abort", abort);
      resolve();
    });
  });
}
