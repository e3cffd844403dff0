/**
 * The queue of imports on BullMQ: a job for each run, under the id its workflow would have. What it forgets, the rows
 * know: a run that has ended is never taken again, and one that Redis has lost is started again by the reconciler.
 * See docs/adr/0026.
 */
import { randomUUID } from "node:crypto";
import type { Job } from "bullmq";
import { logField } from "../../../utils/logger.js";
import type {
  EnqueueOutcome,
  ImportQueue,
  JobRef,
  QueuedWork,
  QueueHealth,
  QueueState,
  ScheduleState,
  SyncSchedule,
  WorkRef,
} from "../ImportQueue.js";
import { BullCalls } from "./bull/BullCalls.js";
import type { BullCallsOptions } from "./bull/BullCalls.js";
import { BullSchedules } from "./bull/BullSchedules.js";
import { loadBullmq } from "./bull/library.js";
import type { BullLibrary } from "./bull/library.js";
import { KEPT_SECONDS, keysOf, TERMINATED } from "./bull/names.js";
import { workIdOf } from "./workIds.js";
import type { Ask, EnqueuedJob, JobData, JobEnd } from "./bull/names.js";

export interface BullImportQueueOptions extends BullCallsOptions {
  /** Whether the row says that this run has come to its end, for Redis may have forgotten it. */
  readonly isOver: (ref: JobRef) => Promise<boolean>;
  /** For tests: how long the minutes of a schedule are. */
  readonly scheduleMinuteMs?: number | undefined;
}

type QueueJob = Job<JobData, JobEnd, string>;
type JobState = Awaited<ReturnType<QueueJob["getState"]>>;

/** Of BullMQ, for a job that is gone, or not in the state that was expected. */
const MOVED_ON: readonly unknown[] = [-1, -3];

export class BullImportQueue implements ImportQueue {
  readonly #calls: BullCalls;
  readonly #schedules: BullSchedules;
  readonly #keys: ReturnType<typeof keysOf>;

  /** Throws `StartupError` when BullMQ is not installed. */
  static async open(options: BullImportQueueOptions): Promise<BullImportQueue> {
    return new BullImportQueue(await loadBullmq(), options);
  }

  private constructor(
    bullmq: BullLibrary,
    private readonly options: BullImportQueueOptions,
  ) {
    this.#calls = new BullCalls(bullmq, options);
    this.#schedules = new BullSchedules(this.#calls, options.name, options.scheduleMinuteMs);
    this.#keys = keysOf(options.name);
  }

  enqueue(work: QueuedWork): Promise<EnqueueOutcome> {
    const id = workIdOf(work);
    const claim = randomUUID();
    const kept = { age: KEPT_SECONDS };
    return this.#calls.within(async () => {
      if (work.kind === "import" && (await this.options.isOver(work))) return "exists";
      await this.#calls.queue.add(
        work.kind,
        { work, claim, ...requestOf() },
        { jobId: id, removeOnComplete: kept, removeOnFail: kept },
      );
      const job = await this.#find(id);
      if (job === undefined || (job.data as EnqueuedJob).claim === claim) return "started";
      return work.kind === "import" ? "exists" : this.#again(job);
    });
  }

  requestCancel(ref: JobRef): Promise<"requested" | "missing"> {
    return this.#tell(ref, (id) => this.#ask(id, "cancel"));
  }

  /** A run that waits looks at its row, whatever it is told; one that is under way looks by itself. */
  setPaused(ref: JobRef): Promise<"requested" | "missing"> {
    return this.#tell(ref, async (id) => {
      const key = this.#keys.wakes(id);
      await this.#calls.redis.multi().incr(key).expire(key, KEPT_SECONDS).exec();
    });
  }

  inspect(ref: WorkRef): Promise<QueueState> {
    return this.#calls.within(async () => {
      const job = await this.#find(workIdOf(ref));
      if (job === undefined) return "missing";
      const state = await job.getState();
      // Read again: it may have ended between the two.
      return state === "completed" || state === "failed"
        ? endOf(await this.#find(workIdOf(ref)), state)
        : openOr(state);
    });
  }

  forget(ref: WorkRef): Promise<void> {
    return this.#end(ref, "forget");
  }

  /** Stops this work where it is, for operators and tests; its row is left as it is, and the reconciler closes it. */
  terminate(ref: WorkRef): Promise<void> {
    return this.#end(ref, "terminate");
  }

  upsertSchedule(schedule: SyncSchedule): Promise<void> {
    return this.#schedules.upsert(schedule);
  }

  removeSchedule(connectionId: string): Promise<void> {
    return this.#schedules.remove(connectionId);
  }

  inspectSchedule(connectionId: string): Promise<ScheduleState | null> {
    return this.#schedules.inspect(connectionId);
  }

  listSchedules(): Promise<readonly string[]> {
    return this.#schedules.list();
  }

  async health(): Promise<QueueHealth> {
    const startedAt = performance.now();
    try {
      await this.#calls.within(() => this.#calls.redis.ping());
      return { ok: true, latencyMs: Math.round(performance.now() - startedAt), detail: null };
    } catch (error) {
      return { ok: false, latencyMs: null, detail: (error as Error).message };
    }
  }

  close(): Promise<void> {
    return this.#calls.close();
  }

  #find(id: string): Promise<QueueJob | undefined> {
    return this.#calls.queue.getJob(id);
  }

  /** Runs an undo or an erase again that has ended. Of several who try this at once, one succeeds. */
  async #again(job: QueueJob): Promise<EnqueueOutcome> {
    const state = await job.getState();
    if (!isEnded(state)) return "exists";
    await this.#calls.redis.del(this.#keys.ask(job.id!));
    try {
      await job.retry(state);
      return "started";
    } catch (error) {
      if (error instanceof Error && "code" in error && MOVED_ON.includes(error.code)) return "exists";
      throw error;
    }
  }

  #tell(ref: JobRef, what: (id: string) => Promise<unknown>): Promise<"requested" | "missing"> {
    const id = workIdOf({ kind: "import", ...ref });
    return this.#calls.within(async () => {
      const job = await this.#find(id);
      if (job === undefined || isEnded(await job.getState())) return "missing";
      await what(id);
      await wake(job);
      return "requested";
    });
  }

  #end(ref: WorkRef, how: Exclude<Ask, "cancel">): Promise<void> {
    const id = workIdOf(ref);
    return this.#calls.within(async () => {
      const job = await this.#find(id);
      if (job === undefined) return;
      const idle = how === "forget" && (await job.getState()) !== "active";
      // One that has been taken in this moment cannot be removed; it is asked, as those that run.
      if (idle && (await this.#calls.queue.remove(id)) === 1) {
        await this.#calls.redis.del(this.#keys.ask(id), this.#keys.wakes(id));
        return;
      }
      await this.#ask(id, how);
      await wake(job);
    });
  }

  #ask(id: string, what: Ask): Promise<unknown> {
    return this.#calls.redis.set(this.#keys.ask(id), what, "EX", KEPT_SECONDS);
  }
}

const isEnded = (state: JobState): state is "completed" | "failed" =>
  state === "completed" || state === "failed";

const openOr = (state: JobState): QueueState => (state === "unknown" ? "missing" : "open");

function endOf(job: QueueJob | undefined, state: "completed" | "failed"): QueueState {
  if (job === undefined) return "missing";
  if (state === "completed") return job.returnvalue.outcome;
  return job.failedReason === TERMINATED ? "terminated" : "failed";
}

/** Lets a job that waits for a time run now; does nothing for others, nor when it has gone on meanwhile. */
async function wake(job: QueueJob): Promise<void> {
  if ((await job.getState()) !== "delayed") return;
  await job.promote().catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && MOVED_ON.includes(error.code))) throw error;
  });
}

/** Nothing when the reconciler enqueued it. */
function requestOf(): Pick<EnqueuedJob, "requestId"> {
  const requestId = logField("requestId");
  return typeof requestId === "string" ? { requestId } : {};
}
