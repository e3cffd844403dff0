/** How many searches are under way: they are the dearest reads that anybody may send, and others need connections, too. */
import { UnavailableError } from "../../utils/errors.js";

const MAX_WAIT_MS = 2000;
const MAX_WAITING = 200;

interface Waiter {
  readonly start: () => void;
  readonly timer: NodeJS.Timeout;
}

/** Lets `parallel` run at once; others wait in order, for two seconds at most. */
export class SearchSlots {
  readonly #parallel: number;
  #running = 0;
  readonly #waiting: Waiter[] = [];

  constructor(parallel: number) {
    this.#parallel = parallel;
  }

  /** Throws `UnavailableError("busy")` when its turn does not come. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#parallel) this.#running += 1;
    else await this.#turn();
    try {
      return await work();
    } finally {
      this.#pass();
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= MAX_WAITING) throw busy();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(busy());
      }, MAX_WAIT_MS);
      const waiter: Waiter = { start: resolve, timer };
      this.#waiting.push(waiter);
    });
  }

  /** The place goes from one to the next without being free in between. */
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

const busy = (): UnavailableError => new UnavailableError("busy", "Too many searches are under way", 1);
