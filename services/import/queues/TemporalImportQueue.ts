/** The queue of imports on Temporal: client only, no native code, every call under a deadline. */
import {
  Client,
  Connection,
  defaultGrpcRetryOptions,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
  WorkflowExecutionAlreadyStartedError,
} from "@temporalio/client";
import type { WorkflowExecutionStatusName } from "@temporalio/client";
import { defineSearchAttributeKey, SearchAttributeType, WorkflowNotFoundError } from "@temporalio/common";
import type { SearchAttributePair } from "@temporalio/common";
import { importWorkflowId, SEARCH_ATTRIBUTES, WORKFLOW_TYPES } from "../../../workflows/contracts.js";
import type { ImportHistoryInput } from "../../../workflows/contracts.js";
import type { Logger } from "../../../utils/logger.js";
import { QueueRejectedError, QueueUnavailableError } from "../ImportQueue.js";
import type {
  EnqueueOutcome,
  ImportQueue,
  JobRef,
  QueuedImport,
  QueueHealth,
  QueueState,
} from "../ImportQueue.js";

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
/** gRPC: deadline exceeded, resource exhausted, unavailable. Whether the call took effect is unknown. */
const UNKNOWN_OUTCOME: readonly number[] = [4, 8, 14];
const INVALID_ARGUMENT = 3;
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

  async enqueue(job: QueuedImport): Promise<EnqueueOutcome> {
    try {
      return await this.#start(job, true);
    } catch (error) {
      if (!isMissingAttribute(error)) throw toQueueError(error);
    }
    // The worker registers the attributes; until then work is started without what only serves finding it.
    this.options.log.warn("search attributes are not registered yet; started without", {
      importId: job.importId,
    });
    try {
      return await this.#start(job, false);
    } catch (error) {
      throw toQueueError(error);
    }
  }

  async requestCancel(ref: JobRef): Promise<"requested" | "missing"> {
    const handle = this.#client.workflow.getHandle(importWorkflowId(ref.importId, ref.attempt));
    try {
      await this.#withDeadline(() => handle.cancel());
      return "requested";
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return "missing";
      throw toQueueError(error);
    }
  }

  async inspect(ref: JobRef): Promise<QueueState> {
    const handle = this.#client.workflow.getHandle(importWorkflowId(ref.importId, ref.attempt));
    try {
      const { status } = await this.#withDeadline(() => handle.describe());
      return stateOf(status.name);
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return "missing";
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

  async #start(job: QueuedImport, searchAttributes: boolean): Promise<EnqueueOutcome> {
    const input: ImportHistoryInput = {
      importId: job.importId,
      attempt: job.attempt,
      parallelParts: this.options.parallelParts,
      heartbeatTimeoutMs: this.options.heartbeatTimeoutMs,
      searchAttributes,
    };
    const workflowId = importWorkflowId(job.importId, job.attempt);
    try {
      await this.#withDeadline(() =>
        this.#client.workflow.start(WORKFLOW_TYPES.importHistory, {
          workflowId,
          taskQueue: this.options.taskQueue,
          args: [input],
          // Both refuse a second start, so that it can be told from a first; a resend of one call by the client's own
          // retries carries its request id and is answered as the first was.
          workflowIdConflictPolicy: "FAIL",
          workflowIdReusePolicy: "REJECT_DUPLICATE",
          priority: { priorityKey: UPLOAD_PRIORITY, fairnessKey: job.userId },
          staticSummary: `${job.provider === null ? "" : `${job.provider} `}${job.jobKind} import, attempt ${job.attempt}`,
          staticDetails: `Import \`${job.importId}\`. Files, rows and reasons are in the tables import_parts, import_batches and import_rows.`,
          ...(searchAttributes ? { typedSearchAttributes: attributesOf(job) } : {}),
        }),
      );
      return "started";
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) return "exists";
      throw error;
    }
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

function attributesOf(job: QueuedImport): SearchAttributePair[] {
  return [
    { key: keyword(SEARCH_ATTRIBUTES.user), value: job.userId },
    { key: keyword(SEARCH_ATTRIBUTES.kind), value: job.jobKind },
    { key: keyword(SEARCH_ATTRIBUTES.phase), value: "queued" },
    ...(job.provider === null ? [] : [{ key: keyword(SEARCH_ATTRIBUTES.provider), value: job.provider }]),
  ];
}

function stateOf(status: WorkflowExecutionStatusName): QueueState {
  switch (status) {
    case "COMPLETED":
      return "completed";
    case "FAILED":
      return "failed";
    case "CANCELLED":
      return "cancelled";
    case "TERMINATED":
      return "terminated";
    case "TIMED_OUT":
      return "timed_out";
    default:
      return "open"; // running, paused by an operator, or continued as a new run
  }
}

/** The service's answer somewhere in the causes, whatever the client wrapped it in. */
function grpcCodeOf(error: unknown): number | undefined {
  for (let link = error; link instanceof Error; link = link.cause) {
    if (isGrpcServiceError(link)) return link.code;
  }
  return undefined;
}

function isMissingAttribute(error: unknown): boolean {
  if (grpcCodeOf(error) !== INVALID_ARGUMENT) return false;
  for (let link = error; link instanceof Error; link = link.cause) {
    if (/search attribute/i.test(link.message)) return true;
  }
  return false;
}

function toQueueError(error: unknown): Error {
  const code = grpcCodeOf(error);
  const reason = error instanceof Error ? error.message : String(error);
  if (code === undefined || UNKNOWN_OUTCOME.includes(code))
    return new QueueUnavailableError(`Temporal did not answer: ${reason}`, { cause: error });
  return new QueueRejectedError(`Temporal refused: ${reason}`, { cause: error });
}
