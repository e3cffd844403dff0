/** The queue of imports on Temporal: client only, no native code, every call under a deadline. */
import { WorkflowExecutionAlreadyStartedError } from "@temporalio/client";
import type { WorkflowHandle, WorkflowStartOptions } from "@temporalio/client";
import { WorkflowNotFoundError } from "@temporalio/common";
import type { SearchAttributePair } from "@temporalio/common";
import { isConnectionProvider } from "../../../db/models/enums.js";
import {
  eraseWorkflowId,
  importWorkflowId,
  PAUSE_SIGNAL,
  undoWorkflowId,
  WORKFLOW_TYPES,
} from "../../../workflows/contracts.js";
import type { EraseInput, ImportHistoryInput, UndoInput } from "../../../workflows/contracts.js";
import { logField } from "../../../utils/logger.js";
import type { Logger } from "../../../utils/logger.js";
import type {
  EnqueueOutcome,
  ImportQueue,
  JobRef,
  QueuedErase,
  QueuedImport,
  QueuedUndo,
  QueuedWork,
  QueueHealth,
  QueueState,
  ScheduleState,
  SyncSchedule,
  WorkRef,
} from "../ImportQueue.js";
import { isMissingAttribute, isNotFound, stateOf, toQueueError } from "./temporalAnswers.js";
import { attributesOf } from "./temporalAttributes.js";
import { TemporalCalls } from "./TemporalCalls.js";
import { TemporalSchedules } from "./TemporalSchedules.js";
import { workIdOf } from "./workIds.js";

export interface TemporalImportQueueOptions {
  /** `host:port` */
  readonly address: string;
  readonly namespace: string;
  readonly taskQueue: string;
  readonly parallelParts: number;
  readonly heartbeatTimeoutMs: number;
  readonly log: Logger;
  /** For tests; 2 s otherwise. */
  readonly deadlineMs?: number;
  /** For tests: how long the minutes of a schedule are. */
  readonly scheduleMinuteMs?: number | undefined;
}

/** A user waits for an upload; periodic work goes after it. */
const UPLOAD_PRIORITY = 3;
const SYNC_PRIORITY = 4;

/** Connects at the first call and by itself after every loss; opening it waits for nothing. */
export class TemporalImportQueue implements ImportQueue {
  readonly #calls: TemporalCalls;
  readonly #schedules: TemporalSchedules;

  constructor(private readonly options: TemporalImportQueueOptions) {
    const { address, namespace, deadlineMs, scheduleMinuteMs: minuteMs } = options;
    this.#calls = new TemporalCalls(address, namespace, deadlineMs);
    this.#schedules = new TemporalSchedules(this.#calls, { ...options, minuteMs });
  }

  async enqueue(work: QueuedWork): Promise<EnqueueOutcome> {
    try {
      return await this.#start(work, true);
    } catch (error) {
      if (!isMissingAttribute(error)) throw toQueueError(error);
    }
    // The worker registers the attributes; until then work is started without what only serves finding it.
    const workflowId = workIdOf(work);
    this.options.log.warn("search attributes are not registered yet; started without", { workflowId });
    try {
      return await this.#start(work, false);
    } catch (error) {
      throw toQueueError(error);
    }
  }

  requestCancel(ref: JobRef): Promise<"requested" | "missing"> {
    return this.#tell(ref, (handle) => handle.cancel());
  }

  setPaused(ref: JobRef, paused: boolean): Promise<"requested" | "missing"> {
    return this.#tell(ref, (handle) => handle.signal(PAUSE_SIGNAL, paused));
  }

  async inspect(ref: WorkRef): Promise<QueueState> {
    const handle = this.#calls.client.workflow.getHandle(workIdOf(ref));
    try {
      const { status } = await this.#calls.within(() => handle.describe());
      return stateOf(status.name);
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return "missing";
      throw toQueueError(error);
    }
  }

  /** All runs under its id: a long import goes on in a new one, and what was stopped was started again. */
  async forget(ref: WorkRef): Promise<void> {
    const workflowId = workIdOf(ref);
    const { namespace } = this.options;
    try {
      const runs = await this.#calls.within(async () => {
        const found: string[] = [];
        const list = this.#calls.client.workflow.list({ query: `WorkflowId = "${workflowId}"` });
        for await (const { runId } of list) found.push(runId);
        return found;
      });
      for (const runId of runs) {
        const workflowExecution = { workflowId, runId };
        await this.#calls
          .within(() =>
            this.#calls.connection.workflowService.deleteWorkflowExecution({ namespace, workflowExecution }),
          )
          .catch((error: unknown) => {
            if (!isNotFound(error)) throw error;
          });
      }
    } catch (error) {
      throw toQueueError(error);
    }
  }

  /** Never `ensureConnected`: on a lazy connection its first failure would be its answer for ever. */
  async health(): Promise<QueueHealth> {
    const startedAt = performance.now();
    try {
      await this.#calls.within(() => this.#calls.connection.workflowService.getSystemInfo({}));
      return { ok: true, latencyMs: Math.round(performance.now() - startedAt), detail: null };
    } catch (error) {
      return { ok: false, latencyMs: null, detail: toQueueError(error).message };
    }
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

  close(): Promise<void> {
    return this.#calls.close();
  }

  async #tell(
    ref: JobRef,
    what: (handle: WorkflowHandle) => Promise<unknown>,
  ): Promise<"requested" | "missing"> {
    const handle = this.#calls.client.workflow.getHandle(importWorkflowId(ref.importId, ref.attempt));
    try {
      await this.#calls.within(() => what(handle));
      return "requested";
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return "missing";
      throw toQueueError(error);
    }
  }

  async #start(work: QueuedWork, searchAttributes: boolean): Promise<EnqueueOutcome> {
    const { type, ...options } = this.#startOf(work, searchAttributes);
    try {
      await this.#calls.within(() =>
        this.#calls.client.workflow.start(type, {
          ...options,
          taskQueue: this.options.taskQueue,
          // A second start is refused, so that it can be told from a first; a resend of one call by the client's own
          // retries carries its request id and is answered as the first was.
          workflowIdConflictPolicy: "FAIL",
          priority: { priorityKey: priorityOf(work), fairnessKey: work.userId },
          ...requestMemo(),
          ...(searchAttributes ? { typedSearchAttributes: attributesOfWork(work) } : {}),
        }),
      );
      return "started";
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return "exists";
      throw error;
    }
  }

  #startOf(work: QueuedWork, searchAttributes: boolean): Start {
    switch (work.kind) {
      case "import":
        return this.#importOf(work, searchAttributes);
      case "undo":
        return this.#undoOf(work, searchAttributes);
      case "erase":
        return this.#eraseOf(work, searchAttributes);
    }
  }

  #importOf(job: QueuedImport, searchAttributes: boolean): Start {
    const { parallelParts, heartbeatTimeoutMs } = this.options;
    const { importId, attempt, provider, jobKind } = job;
    const input: ImportHistoryInput = {
      importId,
      attempt,
      parallelParts,
      heartbeatTimeoutMs,
      searchAttributes,
      ...(jobKind === "sync" ? { sync: true, ...laneOf(provider) } : {}),
    };
    return {
      type: WORKFLOW_TYPES.importHistory,
      workflowId: importWorkflowId(importId, attempt),
      args: [input],
      workflowIdReusePolicy: "REJECT_DUPLICATE",
      staticSummary: `${provider === null ? "" : `${provider} `}${jobKind} import, attempt ${attempt}`,
      staticDetails: `Import \`${importId}\`. Files, rows and reasons are in the tables import_parts, import_batches and import_rows.`,
    };
  }

  #undoOf({ importId, provider }: QueuedUndo, searchAttributes: boolean): Start {
    const { heartbeatTimeoutMs } = this.options;
    const input: UndoInput = { importId, heartbeatTimeoutMs, searchAttributes };
    return {
      type: WORKFLOW_TYPES.undoImport,
      workflowId: undoWorkflowId(importId),
      args: [input],
      // Only the row says whether there is something to undo; a run that finds nothing ends at once.
      workflowIdReusePolicy: "ALLOW_DUPLICATE",
      staticSummary: `undo of a ${provider === null ? "" : `${provider} `}import`,
      staticDetails: `Takes back import \`${importId}\`: deletes the plays that no other import claims, hands over the others.`,
    };
  }

  #eraseOf({ userId }: QueuedErase, searchAttributes: boolean): Start {
    const { heartbeatTimeoutMs } = this.options;
    const input: EraseInput = { userId, heartbeatTimeoutMs, searchAttributes };
    return {
      type: WORKFLOW_TYPES.eraseAccount,
      workflowId: eraseWorkflowId(userId),
      args: [input],
      // Only the account's row says whether something is left; a run that finds none ends at once.
      workflowIdReusePolicy: "ALLOW_DUPLICATE",
      staticSummary: "erase of an account",
      staticDetails:
        "Deletes all that belongs to an account which its owner has given up; the row of `users` last.",
    };
  }
}

type Start = Pick<
  WorkflowStartOptions,
  "args" | "staticDetails" | "staticSummary" | "workflowId" | "workflowIdReusePolicy"
> & { readonly type: string };

/** Which request asked for it, for whoever looks at the run; nothing when the reconciler did. */
function requestMemo(): Pick<WorkflowStartOptions, "memo"> {
  const requestId = logField("requestId");
  return typeof requestId === "string" ? { memo: { requestId } } : {};
}

/** Only workers of known providers look into lanes: of any other there must be none. */
const laneOf = (provider: string | null): Pick<ImportHistoryInput, "syncLane"> =>
  provider !== null && isConnectionProvider(provider) ? { syncLane: provider } : {};

const priorityOf = (work: QueuedWork): number =>
  work.kind === "import" && work.jobKind === "sync" ? SYNC_PRIORITY : UPLOAD_PRIORITY;

function attributesOfWork(work: QueuedWork): SearchAttributePair[] {
  return attributesOf({
    userId: work.userId,
    kind: work.kind === "import" ? work.jobKind : work.kind,
    phase: "queued",
    provider: work.kind === "erase" ? null : work.provider,
    connectionId: work.kind === "import" ? work.connectionId : null,
  });
}
