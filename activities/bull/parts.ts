/** The parts of an import, so many at a time. */
import type { Ending } from "../../services/import/closing.js";
import type { QueuedImport } from "../../services/import/ImportQueue.js";
import { JobClosedError } from "../../services/import/jobs.js";
import type { PartOutcome } from "../../services/import/partImport.js";
import { isFinal } from "../retrying.js";
import { RunStopped } from "./RunControl.js";
import type { RunTools } from "./runs.js";
import { failureOf } from "./StepCaller.js";

/** Numbers of parts read at once. */
const PAGE = 500;

/** Imports all that are open. Throws what ends the whole run. `paused`: some are left for later. */
export function importParts(run: QueuedImport, tools: RunTools): Promise<Ending | "paused"> {
  return new PartsInParallel(run, tools).all();
}

class PartsInParallel {
  readonly #inFlight = new Set<Promise<void>>();
  readonly #others = new AbortController();
  #stopped = false;
  #paused = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(
    private readonly run: QueuedImport,
    private readonly tools: RunTools,
  ) {}

  async all(): Promise<Ending | "paused"> {
    try {
      await this.#startAll();
    } catch (error) {
      this.#fail(error);
    }
    await Promise.all(this.#inFlight);
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#stopped) return { outcome: "cancelled" };
    return this.#paused ? "paused" : { outcome: "completed" };
  }

  async #startAll(): Promise<void> {
    const { steps, parallelParts, step } = this.tools;
    for (let afterPart = -1, full = true; full;) {
      const open = await step("openParts", () => steps.openParts(this.run, afterPart, PAGE));
      for (const partNo of open) {
        while (this.#inFlight.size >= parallelParts && this.#goesOn()) await Promise.race(this.#inFlight);
        if (!this.#goesOn()) return;
        this.#start(partNo);
        afterPart = partNo;
      }
      full = open.length === PAGE;
    }
  }

  #goesOn(): boolean {
    return !this.#stopped && !this.#paused && this.#failure === undefined;
  }

  #start(partNo: number): void {
    const work = this.#import(partNo)
      .then(
        ({ status }) => {
          if (status === "stopped") this.#stopped = true;
          if (status === "paused") this.#paused = true;
        },
        (error: unknown) => this.#fail(error),
      )
      .finally(() => this.#inFlight.delete(work));
    this.#inFlight.add(work);
  }

  async #import(partNo: number): Promise<PartOutcome> {
    const { steps, heavyStep, step } = this.tools;
    try {
      return await heavyStep(
        "importPart",
        (context) => steps.importPart(this.run, partNo, context),
        this.#others.signal,
      );
    } catch (error) {
      if (this.#failure !== undefined || endsTheRun(error)) throw error;
      // Patience with this one file is used up; the others are none the worse for it.
      return step("failPart", () => steps.failPart(this.run, partNo, failureOf(error)));
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#others.abort(error);
  }
}

const endsTheRun = (error: unknown): boolean =>
  error instanceof RunStopped || error instanceof JobClosedError || isFinal(error);
