/** Calls a step until it succeeds: in its turn, with growing pauses, and not for ever. */
import { setTimeout as sleep } from "node:timers/promises";
import { JobClosedError } from "../../services/import/jobs.js";
import type { StepContext } from "../../services/import/stepContext.js";
import { ImportError } from "../../services/import/verdicts.js";
import { outageOf } from "../../services/import/waiting.js";
import type { OutageReason } from "../../services/import/waiting.js";
import { withLogFields } from "../../utils/logger.js";
import type { Logger } from "../../utils/logger.js";
import { Turns } from "../../utils/Turns.js";
import type { WorkerMetrics } from "../metrics.js";
import { ALARMING_ATTEMPT, describeFailure, isFinal, pauseAfter } from "../retrying.js";
import { ACTIVITY_SLOTS, SYNC_SLOTS } from "../slots.js";
import { RunStopped } from "./RunControl.js";

/** Of steps that work long, or wait: those of imports together, those of syncs by provider; `sync ends` link their plays. */
export type Lane = "imports" | `sync ${string}`;

export interface StepCallerOptions {
  readonly metrics: Pick<WorkerMetrics, "activityEnded">;
  readonly log: Logger;
  readonly outageRetryMs: number;
  /** For tests; `ACTIVITY_SLOTS` otherwise. */
  readonly slots?: number;
}

export interface StepCall<T> {
  /** As in the metrics of activities. */
  readonly name: string;
  /** What it is for, in every line of the log. */
  readonly fields: Readonly<Record<string, string | number | undefined>>;
  readonly signal: AbortSignal;
  /** Waits for its turn among all steps of this process with the same lane; else it is short. */
  readonly lane?: Lane | undefined;
  /** Milliseconds from the first failure on after which it is not tried again. */
  readonly patienceMs: number;
  readonly work: (context: StepContext) => Promise<T>;
  /** Told what the step waits for, before it is tried again. */
  readonly noteWaiting?: (reason: OutageReason) => Promise<void>;
}

/** Thrown when patience with a step is used up. */
export class GaveUp extends Error {
  constructor(cause: unknown) {
    super(`Gave up: ${describeFailure(cause).message}`, { cause });
    this.name = "GaveUp";
  }
}

/** Code and sentence for the job or the part. */
export function failureOf(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof ImportError) return { code: error.code, message: error.message };
  const message = error instanceof GaveUp ? error.message : `Gave up: ${describeFailure(error).message}`;
  return { code: "resource_limit", message };
}

/** What `setTimeout` can count. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

export class StepCaller {
  readonly #turns = new Map<Lane, Turns>();

  constructor(private readonly options: StepCallerOptions) {}

  /** How many would wait for a turn if one more came now, itself included. */
  waitingIn(lane: Lane): number {
    return this.#turnsOf(lane).ahead;
  }

  /** Throws the signal's reason, `JobClosedError`, an `ImportError` that is final, or `GaveUp`. */
  call<T>(call: StepCall<T>): Promise<T> {
    return withLogFields({ ...call.fields, activity: call.name }, () => this.#untilDone(call));
  }

  async #untilDone<T>(call: StepCall<T>): Promise<T> {
    const { signal, patienceMs } = call;
    let failingSince: number | undefined;
    for (let tries = 1; ; tries += 1) {
      signal.throwIfAborted();
      try {
        return await (call.lane === undefined ? this.#once(call) : this.#inTurn(call, call.lane));
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof JobClosedError || isFinal(error)) throw error;
        this.options.log[tries >= ALARMING_ATTEMPT ? "error" : "warn"]("a step failed", { tries, error });
        const outage = outageOf(error);
        if (outage !== null) await call.noteWaiting?.(outage);
        failingSince ??= performance.now();
        if (performance.now() - failingSince > patienceMs) throw new GaveUp(error);
        const pauseMs = pauseAfter(error, { tries, outageRetryMs: this.options.outageRetryMs });
        await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    }
  }

  /** Whoever is asked to stop while it waits for its turn does not wait on. */
  async #inTurn<T>(call: StepCall<T>, lane: Lane): Promise<T> {
    const { signal } = call;
    let begun = false;
    const done = this.#turnsOf(lane).run(async () => {
      signal.throwIfAborted();
      begun = true;
      return this.#once(call);
    });
    let abort = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      abort = () => {
        // A step that has begun is waited for: it ends at its next batch border.
        if (!begun) reject(signal.reason as Error);
      };
    });
    signal.addEventListener("abort", abort);
    try {
      return await Promise.race([done, aborted]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #turnsOf(lane: Lane): Turns {
    let turns = this.#turns.get(lane);
    if (turns === undefined) {
      turns = new Turns({
        parallel: lane === "imports" ? (this.options.slots ?? ACTIVITY_SLOTS) : SYNC_SLOTS,
        maxWaiting: Infinity,
        maxWaitMs: LONGEST_WAIT_MS,
        busy: () => new Error("no turn came"),
      });
      this.#turns.set(lane, turns);
    }
    return turns;
  }

  async #once<T>({ name, signal, work }: StepCall<T>): Promise<T> {
    const { metrics, log } = this.options;
    const startedAt = performance.now();
    const end = (failure: string | null): void =>
      metrics.activityEnded({ activity: name, seconds: (performance.now() - startedAt) / 1000, failure });
    try {
      // BullMQ knows by its own clock that this process lives.
      const result = await work({ signal, heartbeat: () => undefined, log });
      end(null);
      return result;
    } catch (error) {
      end(endedBy(error, signal));
      throw error;
    }
  }
}

function endedBy(error: unknown, signal: AbortSignal): string {
  if (signal.aborted) {
    const { reason } = signal as { reason: unknown };
    return reason instanceof RunStopped && reason.why === "shutdown" ? "worker_shutdown" : "cancelled";
  }
  return error instanceof JobClosedError ? "job_closed" : describeFailure(error).type;
}
