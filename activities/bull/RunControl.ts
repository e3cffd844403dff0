/** Through which a run hears that it is to stop. */
import type { Ask } from "../../services/import/queues/bull/names.js";

/** `shutdown`: the process ends, and the run goes on elsewhere. `lost`: somebody else has the job by now. */
export type StopReason = Ask | "shutdown" | "lost";

export class RunStopped extends Error {
  constructor(readonly why: StopReason) {
    super(`The run is asked to stop: ${why}`);
    this.name = "RunStopped";
  }
}

export class RunControl {
  readonly #any = new AbortController();
  readonly #hard = new AbortController();

  constructor(readonly jobId: string) {}

  /** Aborts for every reason to stop, with a `RunStopped`. */
  get signal(): AbortSignal {
    return this.#any.signal;
  }

  /** For what a cancel must not break off. */
  get hardSignal(): AbortSignal {
    return this.#hard.signal;
  }

  stop(why: StopReason): void {
    const reason = new RunStopped(why);
    if (!this.#any.signal.aborted) this.#any.abort(reason);
    if (why !== "cancel" && !this.#hard.signal.aborted) this.#hard.abort(reason);
  }
}
