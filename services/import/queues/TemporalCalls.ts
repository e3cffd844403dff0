/** One lazy connection to Temporal, and calls over it that end at their deadline. */
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from "@temporalio/client";

const DEADLINE_MS = 2000;
const LATE_MS = 100;
const TRIES = 4;
const LONGEST_PAUSE_MS = 500;

/** Connects at the first call and by itself after every loss; making one waits for nothing. */
export class TemporalCalls {
  readonly connection: Connection;
  readonly client: Client;
  readonly #deadlineMs: number;
  readonly #calls = new Set<Promise<unknown>>();

  /** `address`: `host:port`. `deadlineMs`: for tests; 2 s otherwise. */
  constructor(address: string, namespace: string, deadlineMs = DEADLINE_MS) {
    this.#deadlineMs = deadlineMs;
    this.connection = Connection.lazy({
      address,
      // The default tries ten times and sleeps past any deadline.
      interceptors: [
        makeGrpcRetryInterceptor(
          defaultGrpcRetryOptions({ maxAttempts: TRIES, maxIntervalMs: () => LONGEST_PAUSE_MS }),
        ),
      ],
    });
    this.client = new Client({ connection: this.connection, namespace });
  }

  /** A caller with a request to answer waits for the deadline and not for what the client does after it. */
  async within<T>(call: () => Promise<T>): Promise<T> {
    const deadlineMs = this.#deadlineMs;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs + LATE_MS);
    });
    const answer = this.connection.withDeadline(Date.now() + deadlineMs, call);
    this.#calls.add(answer);
    const settled = (): unknown => this.#calls.delete(answer);
    answer.then(settled, settled); // its failure is heard below, unless it comes too late
    try {
      return await Promise.race([answer, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for what is under way: a retry that finds the connection closed would throw where nobody can catch it. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#calls);
    await this.connection.close();
  }
}
