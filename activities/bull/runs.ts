/**
 * The order of the steps where no workflow keeps it: as workflows/ has it, but nothing is remembered between two steps.
 * A run that is begun again begins at the beginning, and finds in Postgres what is done.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Ending } from "../../services/import/closing.js";
import type { QueuedErase, QueuedImport, QueuedUndo } from "../../services/import/ImportQueue.js";
import { JobClosedError } from "../../services/import/jobs.js";
import type { StepContext } from "../../services/import/stepContext.js";
import type { ImportSteps } from "../../services/import/steps.js";
import type { AccountEraser } from "../../services/users/AccountEraser.js";
import type { SyncStepResult } from "../../workflows/contracts.js";
import type { JobEnd } from "../../services/import/queues/bull/names.js";
import type { SyncWork } from "../engine.js";
import { importParts } from "./parts.js";
import { RunStopped } from "./RunControl.js";
import { failureOf } from "./StepCaller.js";

/** The run has nothing to do before that, unless it is woken. */
export interface Wait {
  readonly until: Date;
}

export type RunEnd = JobEnd | Wait;

/** Thrown by a run that closed its job as failed. */
export class RunFailed extends Error {
  constructor(message: string) {
    super(message);
    this.name = "RunFailed";
  }
}

type StepOf = <T>(
  name: string,
  work: (context: StepContext) => Promise<T>,
  signal?: AbortSignal,
) => Promise<T>;

/** How a run calls its steps; see StepCaller. */
export interface RunTools {
  readonly steps: ImportSteps;
  readonly syncs: SyncWork;
  readonly parallelParts: number;
  /** Cut short by a cancel; `signal` cuts it short as well. */
  readonly step: StepOf;
  /** The same for a step that works long: not more of them at once than the process can bear. */
  readonly heavyStep: StepOf;
  /** A step of a sync, in its turn among those of its provider. `busy`: too many wait for one already. */
  readonly syncStep: (
    provider: string,
    work: (context: StepContext) => Promise<SyncStepResult>,
  ) => Promise<SyncStepResult | "busy">;
  /** Not cut short by a cancel, and tried for ever. */
  readonly lastStep: <T>(name: string, work: (context: StepContext) => Promise<T>) => Promise<T>;
  /** Neither cut short by a cancel nor tried again; somebody makes up for it when it fails. */
  readonly tryStep: (name: string, work: (context: StepContext) => Promise<unknown>) => Promise<void>;
}

export interface EraseTools extends Pick<RunTools, "lastStep"> {
  readonly eraser: Pick<AccountEraser, "stopImports" | "erase">;
  /** Aborts when the process ends. */
  readonly signal: AbortSignal;
}

/** Whoever resumes a job wakes its run; the row may also be closed, or gone, and nobody left to do so. */
const LOOK_AGAIN_MS = 24 * 60 * 60 * 1000;

/** Of a sync that finds its provider busy; not all of them come back at once. */
const BUSY_MS = 2000;

const FIRST_LOOK_MS = 500;
const LONGEST_LOOK_MS = 30_000;

export async function runImport(run: QueuedImport, tools: RunTools): Promise<RunEnd> {
  for (;;) {
    const reached = await toItsEnd(run, tools);
    // Closed from elsewhere (cancelled while queued, or a newer attempt): the row says all there is to say.
    if (reached === "closed") return { outcome: "completed" };
    if ("until" in reached) return reached;
    await tools.tryStep("linkPlays", (context) => tools.steps.link(run, context));
    const status = await finish(run, reached, tools);
    // Its last batch was in when it was paused: it stays so, and is closed once it is resumed.
    if (status === "paused") continue;
    if (reached.outcome === "failed") throw new RunFailed(reached.message);
    return { outcome: reached.outcome };
  }
}

async function toItsEnd(run: QueuedImport, tools: RunTools): Promise<Ending | Wait | "closed"> {
  try {
    for (;;) {
      const reached = await pass(run, tools);
      if (reached !== "paused") return reached;
      const { parked } = await tools.step("park", () => tools.steps.park(run));
      if (parked) return { until: new Date(Date.now() + LOOK_AGAIN_MS) };
    }
  } catch (error) {
    if (error instanceof JobClosedError) return "closed";
    if (!(error instanceof RunStopped)) return { outcome: "failed", ...failureOf(error) };
    if (error.why === "cancel") return { outcome: "cancelled" };
    throw error;
  }
}

async function pass(run: QueuedImport, tools: RunTools): Promise<Ending | Wait | "paused"> {
  if (run.jobKind === "sync") {
    const synced = await sync(run, tools);
    if (synced !== "upload") return synced;
  }
  const prepared = await tools.heavyStep("prepare", (context) => tools.steps.prepare(run, context));
  return prepared.paused === true ? "paused" : importParts(run, tools);
}

/** Page by page. `upload`: the provider gave a file, which is the job's upload now. */
async function sync(run: QueuedImport, tools: RunTools): Promise<Ending | Wait | "paused" | "upload"> {
  const { syncs, syncStep } = tools;
  for (;;) {
    const result = await syncStep(run.provider ?? "", (context) => syncs.step(run, context));
    if (result === "busy") return { until: new Date(Date.now() + BUSY_MS * (1 + Math.random())) };
    switch (result.status) {
      case "more":
        break;
      case "waiting":
        return { until: new Date(result.until) };
      case "done":
        return { outcome: "completed" };
      case "stopped":
        return { outcome: "cancelled" };
      case "upload":
      case "paused":
        return result.status;
    }
  }
}

async function finish(run: QueuedImport, ending: Ending, { steps, lastStep }: RunTools): Promise<string> {
  try {
    return await lastStep("finish", () => steps.finish(run, ending));
  } catch (error) {
    if (error instanceof JobClosedError) return "closed";
    throw error instanceof RunStopped ? error : new RunFailed(failureOf(error).message);
  }
}

/** Patient without end, and not to be cancelled: half an undo is no state that anybody can want. */
export async function runUndo(
  { importId }: QueuedUndo,
  { steps, lastStep }: Pick<RunTools, "steps" | "lastStep">,
): Promise<RunEnd> {
  try {
    await lastStep("undoImport", (context) => steps.undo(importId, context));
  } catch (error) {
    // There is nothing to undo: the row says that it is over, or never was asked for.
    if (!(error instanceof JobClosedError)) throw runError(error);
  }
  return { outcome: "completed" };
}

/** Opens a sync of a connection whose schedule is due. What does not come about in half an hour is left to the next time. */
export async function runDueSync(
  connectionId: string,
  { syncs, dueStep }: { readonly syncs: SyncWork; readonly dueStep: RunTools["step"] },
): Promise<RunEnd> {
  try {
    await dueStep("openSync", () => syncs.open(connectionId));
  } catch (error) {
    throw runError(error);
  }
  return { outcome: "completed" };
}

/** As an undo. First the imports of the account come to rest, then everything goes, the account last. */
export async function runErase({ userId }: QueuedErase, tools: EraseTools): Promise<RunEnd> {
  const { eraser, lastStep, signal } = tools;
  try {
    for (let finished = false; !finished;) {
      let pauseMs = FIRST_LOOK_MS;
      while ((await lastStep("stopImports", () => eraser.stopImports(userId))).underWay > 0) {
        await sleep(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
        pauseMs = Math.min(pauseMs * 2, LONGEST_LOOK_MS);
      }
      ({ finished } = await lastStep("eraseAccount", (context) => eraser.erase(userId, context)));
    }
  } catch (error) {
    throw runError(error);
  }
  return { outcome: "completed" };
}

const runError = (error: unknown): Error =>
  error instanceof RunStopped ? error : new RunFailed(failureOf(error).message);
