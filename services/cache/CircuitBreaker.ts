/**
 * Leaves a server alone that does not answer. After a few failures in a row nobody asks it any more; one probe at a
 * time finds out in the background when it is back, so that no caller ever waits for that.
 */
const FAILURES = 3;
const PROBE_EVERY_MS = 1000;

export class CircuitBreaker {
  readonly #probe: () => Promise<unknown>;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param probe asks the server something small; rejects when it does not answer */
  constructor(probe: () => Promise<unknown>) {
    this.#probe = probe;
  }

  get open(): boolean {
    return this.#timer !== undefined;
  }

  succeeded(): void {
    this.#failures = 0;
    this.close();
  }

  failed(): void {
    this.#failures += 1;
    if (this.#failures >= FAILURES && !this.open) this.#probeLater();
  }

  /** Closed as in a circuit: calls pass. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #probeLater(): void {
    const timer = setTimeout(() => {
      this.#probe().then(
        () => this.succeeded(),
        () => {
          if (this.#timer === timer) this.#probeLater(); // else somebody closed it meanwhile
        },
      );
    }, PROBE_EVERY_MS);
    timer.unref();
    this.#timer = timer;
  }
}
