/** One connection to the Redis of the queue, BullMQ's producer over it, and calls that end at their deadline. */
import type { Queue } from "bullmq";
import { Redis } from "ioredis";
import type { Logger } from "../../../../utils/logger.js";
import { QueueRejectedError, QueueUnavailableError } from "../../ImportQueue.js";
import type { BullLibrary } from "./library.js";
import { KEY_PREFIX } from "./names.js";
import type { JobData, JobEnd } from "./names.js";

export interface BullCallsOptions {
  readonly name: string;
  readonly redisUrl: string;
  readonly log: Logger;
  /** For tests; 2 s otherwise. */
  readonly deadlineMs?: number;
}

export type BullQueue = Queue<JobData, JobEnd, string>;

const DEADLINE_MS = 2000;
const CONNECT_TIMEOUT_MS = 1000;
const LONGEST_PAUSE_MS = 2000;
const COMPLAINT_MS = 60_000;

/** Answers of a Redis that starts, fails over or is full: it understood, and may do it later. */
const PASSING = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|OOM|MISCONF)\b/;

/** Connects at once, and by itself after every loss; making one waits for nothing. */
export class BullCalls {
  readonly redis: Redis;
  readonly queue: BullQueue;
  readonly #deadlineMs: number;
  readonly #calls = new Set<Promise<unknown>>();
  #complainedAt = -Infinity;

  constructor(bullmq: BullLibrary, { name, redisUrl, log, deadlineMs = DEADLINE_MS }: BullCallsOptions) {
    this.#deadlineMs = deadlineMs;
    this.redis = new Redis(redisUrl, {
      maxRetriesPerRequest: 1,
      connectTimeout: CONNECT_TIMEOUT_MS,
      retryStrategy: (attempt) => Math.min(100 * 2 ** attempt, LONGEST_PAUSE_MS),
    });
    this.queue = new bullmq.Queue<JobData, JobEnd, string>(name, {
      connection: this.redis,
      prefix: KEY_PREFIX,
      skipVersionCheck: true, // it writes to the console; the worker warns in its own way
    });
    // A call that fails says so itself; without listeners the process would end of a connection that is lost.
    this.redis.on("error", (error: Error) => this.#complain(log, error));
    this.queue.on("error", () => undefined);
  }

  /** Throws `QueueUnavailableError` or `QueueRejectedError`. */
  async within<T>(call: () => Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`no answer within ${this.#deadlineMs} ms`)),
        this.#deadlineMs,
      );
    });
    const answer = call();
    answer.catch(() => undefined); // when it comes too late
    const outcome = Promise.race([answer, late]);
    this.#calls.add(outcome);
    try {
      return await outcome;
    } catch (error) {
      throw toQueueError(error);
    } finally {
      clearTimeout(timer);
      this.#calls.delete(outcome);
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#calls);
    this.redis.disconnect();
    await this.queue.close().catch(() => undefined); // it cannot say good-bye to a server that is not there
  }

  #complain(log: Logger, error: Error): void {
    const now = performance.now();
    if (now - this.#complainedAt < COMPLAINT_MS) return;
    this.#complainedAt = now;
    log.warn("the Redis of the import queue does not answer", { error });
  }
}

function toQueueError(error: unknown): Error {
  const reason = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && error.name === "ReplyError" && !PASSING.test(reason))
    return new QueueRejectedError(`Redis refused: ${reason}`, { cause: error });
  return new QueueUnavailableError(`The queue did not answer: ${reason}`, { cause: error });
}
