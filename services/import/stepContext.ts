/** What the steps of an import stand on, and what each run of one is given. */
import type { Pool } from "pg";
import type { Logger } from "../../utils/logger.js";
import type { WorkerBlobStore } from "../storage/BlobStore.js";
import type { ImportObserver } from "./observer.js";
import type { Pace } from "./pace.js";
import type { ReadLimits } from "./reading/limits.js";
import type { BatchCommitterOptions } from "./writing/BatchCommitter.js";

/** The settings of the same names. */
export interface ImportLimits extends ReadLimits {
  readonly batchChars: number;
  readonly maxRejected: number;
  readonly maxLostAttempts: number;
}

export interface StepsDependencies {
  readonly pool: Pool;
  readonly blobs: WorkerBlobStore;
  readonly limits: ImportLimits;
  /** How long a closed import keeps its upload, for `retry`. */
  readonly blobKeepDays: number;
  readonly observer: ImportObserver;
  /** Without one, imports give way to nobody. */
  readonly pace?: Pace;
  readonly onCommit?: BatchCommitterOptions["onCommit"];
}

/** What a step gets from whatever runs it. */
export interface StepContext {
  /** Asks the step to stop at its next batch border. */
  readonly signal: AbortSignal;
  /** Called often; `info` is for people who watch, never read back. */
  readonly heartbeat: (info: Readonly<Record<string, string | number>>) => void;
  readonly log: Logger;
}
