/** The queue of imports on Temporal: client only, no native code, every call under a deadline. */
import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  WorkflowExecutionAlreadyStartedError,
} from "@temporalio/client";
import type { WorkflowHandle, WorkflowStartOptions } from "@temporalio/client";
import { defineSearchAttributeKey, SearchAttributeType, WorkflowNotFoundError } from "@temporalio/common";
import type { SearchAttributePair } from "@temporalio/common";
import {
  eraseWorkflowId,
  importWorkflowId,
  PAUSE_SIGNAL,
  SEARCH_ATTRIBUTES,
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
  WorkRef,
} from "../ImportQueue.js";
import { isMissingAttribute, isNotFound, stateOf, toQueueError } from "./temporalAnswers.js";

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
}

const DEADLINE_MS = 2000;
const LATE_MS = 100;
const TRIES = 4;
const LONGEST_PAUSE_MS = 500;
/** A user waits for an upload; periodic work goes after it. */
const UPLOAD_PRIORITY = 3;

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);

/** Connects at the first call and by itself after every loss; opening it waits for nothing. */
export class TemporalImportQueue implements ImportQueue {
  readonly #connection: Connection;
  readonly #client: Client;
  readonly #calls = new Set<Promise<unknown>>();

  constructor(private readonly options: TemporalImportQueueOptions) {
    this.#connection = Connection.lazy({
      address: options.address,
      // The default tries ten times and sleeps past any deadline.
      interceptors: [
        makeGrpcRetryInterceptor(
          defaultGrpcRetryOptions({ maxAttempts: TRIES, maxIntervalMs: () => LONGEST_PAUSE_MS }),
        ),
      ],
    });
    this.#client = new Client({ connection: this.#connection, namespace: options.namespace });
  }

  async enqueue(work: QueuedWork): Promise<EnqueueOutcome> {
    try {
      return await this.#start(work, true);
    } catch (error) {
      if (!isMissingAttribute(error)) throw toQueueError(error);
    }
    // The worker registers the attributes; until then work is started without what only serves finding it.
    const workflowId = workflowIdOf(work);
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
    const handle = this.#client.workflow.getHandle(workflowIdOf(ref));
    try {
      const { status } = await this.#withDeadline(() => handle.describe());
      return stateOf(status.name);
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return "missing";
      throw toQueueError(error);
    }
  }

  /** All runs under its id: a long import goes on in a new one, and what was stopped was started again. */
  async forget(ref: WorkRef): Promise<void> {
    const workflowId = workflowIdOf(ref);
    const { namespace } = this.options;
    try {
      const runs = await this.#withDeadline(async () => {
        const found: string[] = [];
        const list = this.#client.workflow.list({ query: `WorkflowId = "${workflowId}"` });
        for await (const { runId } of list) found.push(runId);
        return found;
      });
      for (const runId of runs) {
        const workflowExecution = { workflowId, runId };
        await this.#withDeadline(() =>
          this.#connection.workflowService.deleteWorkflowExecution({ namespace, workflowExecution }),
        ).catch((error: unknown) => {
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
      await this.#withDeadline(() => this.#connection.workflowService.getSystemInfo({}));
      return { ok: true, latencyMs: Math.round(performance.now() - startedAt), detail: null };
    } catch (error) {
      return { ok: false, latencyMs: null, detail: toQueueError(error).message };
    }
  }

  /** Waits for what is under way: a retry that finds the connection closed would throw where nobody can catch it. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#calls);
    await this.#connection.close();
  }

  async #tell(
    ref: JobRef,
    what: (handle: WorkflowHandle) => Promise<unknown>,
  ): Promise<"requested" | "missing"> {
    const handle = this.#client.workflow.getHandle(importWorkflowId(ref.importId, ref.attempt));
    try {
      await this.#withDeadline(() => what(handle));
      return "requested";
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return "missing";
      throw toQueueError(error);
    }
  }

  async #start(work: QueuedWork, searchAttributes: boolean): Promise<EnqueueOutcome> {
    const { type, ...options } = this.#startOf(work, searchAttributes);
    try {
      await this.#withDeadline(() =>
        this.#client.workflow.start(type, {
          ...options,
          taskQueue: this.options.taskQueue,
          // A second start is refused, so that it can be told from a first; a resend of one call by the client's own
          // retries carries its request id and is answered as the first was.
          workflowIdConflictPolicy: "FAIL",
          priority: { priorityKey: UPLOAD_PRIORITY, fairnessKey: work.userId },
          ...requestMemo(),
          ...(searchAttributes ? { typedSearchAttributes: attributesOf(work) } : {}),
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

  /** A caller with a request to answer waits for the deadline and not for what the client does after it. */
  async #withDeadline<T>(call: () => Promise<T>): Promise<T> {
    const deadlineMs = this.options.deadlineMs ?? DEADLINE_MS;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs + LATE_MS);
    });
    const answer = this.#connection.withDeadline(Date.now() + deadlineMs, call);
    this.#calls.add(answer);
    const settled = (): unknown => this.#calls.delete(answer);
    answer.then(settled, settled); // its failure is heard below, unless it comes too late
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

type Start = Pick<
  WorkflowStartOptions,
  "args" | "staticDetails" | "staticSummary" | "workflowId" | "workflowIdReusePolicy"
> & { readonly type: string };

function workflowIdOf(ref: WorkRef): string {
  switch (ref.kind) {
    case "import":
      return importWorkflowId(ref.importId, ref.attempt);
    case "undo":
      return undoWorkflowId(ref.importId);
    case "erase":
      return eraseWorkflowId(ref.userId);
  }
}

/** Which request asked for it, for whoever looks at the run; nothing when the reconciler did. */
function requestMemo(): Pick<WorkflowStartOptions, "memo"> {
  const requestId = logField("requestId");
  return typeof requestId === "string" ? { memo: { requestId } } : {};
}

function attributesOf(work: QueuedWork): SearchAttributePair[] {
  const provider = work.kind === "erase" ? null : work.provider;
  return [
    { key: keyword(SEARCH_ATTRIBUTES.user), value: work.userId },
    { key: keyword(SEARCH_ATTRIBUTES.kind), value: work.kind === "import" ? work.jobKind : work.kind },
    { key: keyword(SEARCH_ATTRIBUTES.phase), value: "queued" },
    ...(provider === null ? [] : [{ key: keyword(SEARCH_ATTRIBUTES.provider), value: provider }]),
  ];
}
