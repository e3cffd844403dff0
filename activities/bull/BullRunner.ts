/**
 * The worker's side of the queue on BullMQ: takes jobs, runs them through the steps, and tells BullMQ how they ended. A job
 * whose process died is taken over by another after the time of its lock. What is asked of a run stands in Redis, and is
 * looked for twice a second.
 */
import type { Job, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { ImportSteps } from "../../services/import/steps.js";
import { KEY_PREFIX, keysOf, TERMINATED } from "../../services/import/queues/bull/names.js";
import type { Ask, JobData, JobEnd } from "../../services/import/queues/bull/names.js";
import type { BullLibrary } from "../../services/import/queues/bull/library.js";
import type { AccountEraser } from "../../services/users/AccountEraser.js";
import type { Logger } from "../../utils/logger.js";
import type { SyncWork } from "../engine.js";
import { RunControl, RunStopped } from "./RunControl.js";
import { runDueSync, RunFailed, runErase, runImport, runUndo } from "./runs.js";
import type { RunEnd, RunTools } from "./runs.js";
import { StepCaller } from "./StepCaller.js";
import type { StepCall, StepCallerOptions } from "./StepCaller.js";

export interface BullRunnerOptions extends StepCallerOptions {
  readonly name: string;
  readonly redisUrl: string;
  readonly log: Logger;
  readonly parallelParts: number;
  /** A process that has been silent for longer is taken for dead. */
  readonly lockMs: number;
  readonly steps: ImportSteps;
  readonly eraser: Pick<AccountEraser, "stopImports" | "erase">;
  readonly syncs: SyncWork;
}

/** What may be known of a run. */
interface RunFields {
  readonly kind: JobData["work"]["kind"];
  readonly importId?: string;
  readonly attempt?: number;
  readonly userId?: string;
  readonly jobKind?: string;
  readonly connectionId?: string | null | undefined;
}

type RunnerJob = Job<JobData, JobEnd, string>;
type RunnerWorker = Worker<JobData, JobEnd, string>;

/** Runs at once. One that waits, or whose steps wait for their turn, costs next to nothing. */
const RUNS = 50;
/** Of one provider, with a run that is held for them: those of all providers together leave runs for everything else. */
const SYNCS_WAITING = 5;
const LOOK_MS = 500;
/** BullMQ still counts a run as active for a moment after it was told to wait. */
const SETTLED_MS = 100;
/** How often a job may lose its process; a file that ends them is given up by its own count, and says so. */
const STALLS = 1_000_000;
const RETRY_MS = 1000;
const LONGEST_PAUSE_MS = 2000;
const COMPLAINT_MS = 10_000;
/** From the first failure of a step on. What a schedule could not open in its time is left to the next time. */
const PATIENCE_MS = 24 * 60 * 60 * 1000;
const DUE_PATIENCE_MS = 30 * 60 * 1000;

export class BullRunner {
  readonly #worker: RunnerWorker;
  readonly #redis: Redis;
  readonly #keys: ReturnType<typeof keysOf>;
  readonly #calls: StepCaller;
  readonly #controls = new Set<RunControl>();
  readonly #looking: NodeJS.Timeout;
  #complainedAt = -Infinity;

  constructor(
    private readonly bullmq: BullLibrary,
    private readonly options: BullRunnerOptions,
  ) {
    const { name, redisUrl, lockMs } = options;
    this.#calls = new StepCaller(options);
    this.#keys = keysOf(name);
    const retryStrategy = (attempt: number): number => Math.min(100 * 2 ** attempt, LONGEST_PAUSE_MS);
    this.#redis = new Redis(redisUrl, { maxRetriesPerRequest: 1, retryStrategy });
    this.#redis.on("error", (error: Error) => this.#complain(error));
    this.#worker = new bullmq.Worker<JobData, JobEnd, string>(
      name,
      (job, token) => this.#process(job, token),
      {
        connection: { url: redisUrl, maxRetriesPerRequest: null, retryStrategy },
        prefix: KEY_PREFIX,
        skipVersionCheck: true, // it would write to the console; see `ready`
        concurrency: RUNS,
        lockDuration: lockMs,
        stalledInterval: Math.ceil(lockMs / 2),
        maxStalledCount: STALLS,
        runRetryDelay: RETRY_MS,
      },
    );
    this.#worker.on("error", (error) => this.#complain(error));
    this.#worker.on("failed", (job) => {
      if (job !== undefined) void this.#forgetIfAsked(job).catch((error: unknown) => this.#complain(error));
    });
    this.#worker.on("lockRenewalFailed", (ids: string[]) => {
      for (const control of this.#controls) if (ids.includes(control.jobId)) control.stop("lost");
    });
    this.#looking = setInterval(() => {
      this.#look().catch((error: unknown) => this.#complain(error));
    }, LOOK_MS);
  }

  /** Waits for Redis, and warns when it may throw jobs away. */
  async ready(): Promise<void> {
    await this.#worker.waitUntilReady();
    const memory = await this.#redis.info("memory");
    const policy = /^maxmemory_policy:(allkeys-\S+)/m.exec(memory)?.[1];
    if (policy === undefined || /^maxmemory:0\r?$/m.test(memory)) return;
    this.options.log.warn("the Redis of the import queue may evict jobs, which delays them", { policy });
  }

  get polling(): boolean {
    return this.#worker.isRunning() && !this.#worker.isPaused() && this.#redis.status === "ready";
  }

  /** Takes no more jobs and hands back those it has, at their next batch border; not later than after `withinMs`. */
  async stop(withinMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(() => resolve("late"), withinMs);
    });
    const closed = this.#worker.close();
    for (const control of this.#controls) control.stop("shutdown");
    if ((await Promise.race([closed, late])) === "late") await this.#worker.disconnect();
    clearTimeout(timer);
    clearInterval(this.#looking);
    this.#redis.disconnect();
  }

  async #process(job: RunnerJob, token: string | undefined): Promise<JobEnd> {
    const control = new RunControl(job.id ?? "");
    this.#controls.add(control);
    try {
      // Read before the row is: who changes the row first, and tells of it then, is heard.
      const heard = await this.#redis.get(this.#keys.wakes(control.jobId));
      await this.#look();
      if (this.#worker.closing !== undefined) control.stop("shutdown");
      const end = await this.#run(job, control);
      if ("outcome" in end) return end;
      await job.moveToDelayed(end.until.getTime(), token);
      setTimeout(() => {
        this.#wakeIfTold(job, heard).catch((error: unknown) => this.#complain(error));
      }, SETTLED_MS);
      throw new this.bullmq.DelayedError();
    } catch (error) {
      throw await this.#answerFor(error, job, token);
    } finally {
      this.#controls.delete(control);
    }
  }

  #run({ data: { work } }: RunnerJob, control: RunControl): Promise<RunEnd> {
    const { eraser, syncs } = this.options;
    switch (work.kind) {
      case "import":
        return runImport(work, this.#toolsFor(work, control));
      case "undo":
        return runUndo(work, this.#toolsFor(work, control));
      case "erase": {
        const { lastStep } = this.#toolsFor(work, control);
        return runErase(work, { eraser, lastStep, signal: control.hardSignal });
      }
      case "due": {
        const { step } = this.#toolsFor(work, control);
        return runDueSync(work.connectionId, { syncs, dueStep: step });
      }
    }
  }

  #toolsFor(work: RunFields, control: RunControl): RunTools {
    const { steps, syncs, parallelParts } = this.options;
    const { importId, attempt, userId, connectionId } = work;
    const endLane = work.jobKind === "sync" ? "sync ends" : "imports";
    const patienceMs = work.kind === "due" ? DUE_PATIENCE_MS : PATIENCE_MS;
    const fields =
      importId === undefined ? { userId, connectionId: connectionId ?? undefined } : { importId, attempt };
    const noteWaiting: StepCall<unknown>["noteWaiting"] =
      importId === undefined
        ? undefined
        : (reason) => steps.noteWaiting({ importId, ...(attempt === undefined ? {} : { attempt }) }, reason);
    const call = <T>(
      name: string,
      step: StepCall<T>["work"],
      how: Pick<StepCall<T>, "lane" | "patienceMs" | "signal">,
    ): Promise<T> =>
      this.#calls.call({ name, fields, work: step, ...(noteWaiting && { noteWaiting }), ...how });
    const both = (signal?: AbortSignal): AbortSignal =>
      signal === undefined ? control.signal : AbortSignal.any([control.signal, signal]);
    return {
      steps,
      syncs,
      parallelParts,
      step: (name, step, signal) => call(name, step, { patienceMs, signal: both(signal) }),
      heavyStep: (name, step, signal) =>
        call(name, step, { lane: "imports", patienceMs, signal: both(signal) }),
      syncStep: async (provider, step) => {
        const lane = `sync ${provider}` as const;
        if (this.#calls.waitingIn(lane) > SYNCS_WAITING) return "busy";
        return call("syncStep", step, { lane, patienceMs, signal: control.signal });
      },
      lastStep: (name, step) =>
        call(name, step, {
          ...(name === "finish" ? {} : { lane: "imports" }),
          patienceMs: Infinity,
          signal: control.hardSignal,
        }),
      tryStep: async (name, step) => {
        try {
          await call(name, step, { lane: endLane, patienceMs: -1, signal: control.hardSignal });
        } catch (error) {
          if (error instanceof RunStopped) throw error;
        }
      },
    };
  }

  /** What BullMQ is to be told. */
  async #answerFor(error: unknown, job: RunnerJob, token: string | undefined): Promise<unknown> {
    const { DelayedError, UnrecoverableError, WaitingError } = this.bullmq;
    if (error instanceof RunFailed) return new UnrecoverableError(error.message);
    if (error instanceof RunStopped && error.why === "shutdown") {
      await job.moveToWait(token).catch((failure: unknown) => this.#complain(failure));
      return new WaitingError();
    }
    if (error instanceof RunStopped && error.why !== "lost") return new UnrecoverableError(TERMINATED);
    if (!(error instanceof RunStopped || error instanceof DelayedError)) this.#complain(error);
    // Moved or not, it has no lock for long: what was not told to wait is taken up again as if this process had died.
    return new DelayedError();
  }

  /** What was asked of the runs here. */
  async #look(): Promise<void> {
    const controls = [...this.#controls];
    if (controls.length === 0) return;
    const asked = await this.#redis.mget(controls.map(({ jobId }) => this.#keys.ask(jobId)));
    controls.forEach((control, at) => {
      const ask = asked[at] as Ask | null | undefined; // nobody else writes it
      if (ask != null) control.stop(ask);
    });
  }

  /** Of what was said while the job was about to wait, it has heard nothing. */
  async #wakeIfTold(job: RunnerJob, heard: string | null): Promise<void> {
    if (this.#worker.closing !== undefined) return; // whoever resumes it is heard by the reconciler
    const id = job.id ?? "";
    const [wakes, ask] = await this.#redis.mget(this.#keys.wakes(id), this.#keys.ask(id));
    if (wakes !== heard || ask !== null) if (await job.isDelayed()) await job.promote();
  }

  async #forgetIfAsked(job: RunnerJob): Promise<void> {
    const id = job.id ?? "";
    if ((await this.#redis.get(this.#keys.ask(id))) !== "forget") return;
    await job.remove();
    await this.#redis.del(this.#keys.ask(id), this.#keys.wakes(id));
  }

  #complain(error: unknown): void {
    const now = performance.now();
    if (now - this.#complainedAt < COMPLAINT_MS) return;
    this.#complainedAt = now;
    this.options.log.warn("the worker of BullMQ has met an error, and goes on", { error });
  }
}
