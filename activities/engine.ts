/** What calls the steps in the worker's process: the worker of Temporal, or that of BullMQ. The steps know neither. */
import type { Config } from "../config.js";
import type { ImportQueue } from "../services/import/ImportQueue.js";
import type { RunRef } from "../services/import/jobs.js";
import type { StepContext } from "../services/import/stepContext.js";
import type { ImportSteps } from "../services/import/steps.js";
import type { AccountEraser } from "../services/users/AccountEraser.js";
import type { Logger } from "../utils/logger.js";
import type { OpenedSync, SyncStepResult } from "../workflows/contracts.js";
import type { WorkerMetrics } from "./metrics.js";

export interface Engine {
  /** Called at any time, also before `start`. */
  state(): EngineState;
  /** What it measures itself, in the text format of Prometheus; null when there is nothing. */
  metrics(): Promise<string | null>;
  /** Connects, with patience, and takes work from then on. Throws the signal's reason when it aborts meanwhile. */
  start(work: Work, signal: AbortSignal): Promise<RunningEngine>;
}

export interface RunningEngine {
  /** Resolves when the work has come to rest, or its time is over, after the signal of `start`; rejects when it ends by itself. */
  readonly ended: Promise<void>;
  /** Closes the connections. */
  close(): Promise<void>;
}

export interface EngineState {
  /** `starting`, `RUNNING`, or another word of whatever runs. */
  readonly worker: string;
  /** Whether it asks for work. */
  readonly polling: boolean;
}

/** What there is to be called. */
export interface Work {
  readonly steps: ImportSteps;
  readonly eraser: AccountEraser;
  readonly queue: ImportQueue;
  readonly syncs: SyncWork;
}

export interface SyncWork {
  /** One step of the sync that a job is; see services/connections/syncing/steps.ts. */
  step(ref: RunRef, context: StepContext): Promise<SyncStepResult>;
  /** A schedule is due. */
  open(connectionId: string): Promise<OpenedSync>;
}

export interface EngineOptions {
  readonly config: Config;
  readonly log: Logger;
  readonly metrics: WorkerMetrics;
  /** Time for steps to reach their next batch border once the process was asked to stop. */
  readonly stopMs: number;
  /** Prebuilt workflows, where there are any. */
  readonly workflowBundle?: string | undefined;
}

/** Loads nothing of the other one. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  switch (options.config.queue.kind) {
    case "temporal":
      return (await import("./temporalEngine.js")).createTemporalEngine(options);
    case "bullmq":
      return (await import("./bull/bullEngine.js")).createBullEngine(options);
  }
}
