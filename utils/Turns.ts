/** A bounded number of jobs at once, and a bounded queue for the others. */

export interface TurnsOptions {
  readonly parallel: number;
  readonly maxWaiting: number;
  /** Milliseconds after which one that still waits is refused. */
  readonly maxWaitMs: number;
  /** Made for each that is refused. */
  readonly busy: () => Error;
}

interface Waiter {
  readonly start: () => void;
  readonly timer: NodeJS.Timeout;
}

/** Lets `parallel` jobs run at once; others wait in order, each for so long at most. */
export class Turns {
  readonly #options: TurnsOptions;
  #running = 0;
  readonly #waiting: Waiter[] = [];

  constructor(options: TurnsOptions) {
    this.#options = options;
  }

  /** How many would wait if one more came now, itself included; 0 when it could start. */
  get ahead(): number {
    return this.#running < this.#options.parallel ? 0 : this.#waiting.length + 1;
  }

  /** Throws `busy()` when the queue is full or its turn does not come in time. */
  async run<T>(job: () => Promise<T>): Promise<T> {
    if (this.ahead > 0) await this.#turn();
    else this.#running += 1;
    try {
      return await job();
    } finally {
      this.#pass();
    }
  }

  #turn(): Promise<void> {
    const { maxWaiting, maxWaitMs, busy } = this.#options;
    if (this.#waiting.length >= maxWaiting) throw busy();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(busy());
      }, maxWaitMs);
      const waiter: Waiter = { start: resolve, timer };
      this.#waiting.push(waiter);
    });
  }

  /** Hands the place on without ever showing it free, so that a newcomer cannot overtake. */
  #pass(): void {
    const next = this.#waiting.shift();
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    clearTimeout(next.timer);
    next.start();
  }
}
