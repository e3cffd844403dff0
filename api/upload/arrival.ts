/** A request body on its way in: bounded in size, not slower than it may be, and over when the client is gone. */
import type { IncomingMessage } from "node:http";
import { Transform } from "node:stream";
import type { TransformCallback } from "node:stream";
import { PayloadTooLargeError, RequestTimeoutError, ValidationError } from "../../utils/errors.js";

export interface ArrivalLimits {
  /** Of the whole body, form around a file included. */
  readonly maxBytes: number;
  /** In any `windowMs` the client has to send at this rate; there is no limit on the total time. */
  readonly minBytesPerSecond: number;
  readonly windowMs: number;
}

const SAMPLES_PER_WINDOW = 10;

const incompleteBody = (): ValidationError => {
  const message = "The connection was closed before the whole body had arrived";
  return new ValidationError(message, [{ path: "", code: "incomplete_body", message }], "incomplete_body");
};

/**
 * The bytes of `req`. Fails with the `AppError` the client should see; `req` itself is never destroyed, so that
 * it can be answered. Destroy the arrival when it is no longer read, whatever the reason.
 */
export class Arrival extends Transform {
  /** formidable asks what it parses for these. */
  readonly headers: IncomingMessage["headers"];
  readonly #limits: ArrivalLimits;
  readonly #check: (receivedBytes: number) => Error | null;
  readonly #room: () => Promise<unknown> | null;
  #receivedBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #samples: { readonly at: number; readonly bytes: number }[] = [];

  /**
   * `check` may find another reason to stop, at each chunk. `room`: null when the next chunk may be passed on at once,
   * else it is as soon as the promise resolves; for readers that put up with more than they can digest.
   */
  constructor(
    req: IncomingMessage,
    limits: ArrivalLimits,
    check: (receivedBytes: number) => Error | null = () => null,
    room: () => Promise<unknown> | null = () => null,
  ) {
    super();
    this.headers = req.headers;
    this.#limits = limits;
    this.#check = check;
    this.#room = room;
    this.#watchRate(req);
    this.#watchClient(req);
    req.pipe(this);
  }

  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#receivedBytes += chunk.length;
    const failure =
      this.#receivedBytes > this.#limits.maxBytes
        ? new PayloadTooLargeError(this.#limits.maxBytes)
        : this.#check(this.#receivedBytes);
    if (failure !== null) return done(failure);
    const room = this.#room();
    if (room === null) return done(null, chunk);
    room.then(
      () => done(null, chunk),
      (error: unknown) => done(error instanceof Error ? error : new Error("No room", { cause: error })),
    );
  }

  override _flush(done: TransformCallback): void {
    clearInterval(this.#timer);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearInterval(this.#timer);
    done(error);
  }

  #watchClient(req: IncomingMessage): void {
    const gone = (): void => {
      if (!req.complete) this.destroy(incompleteBody());
    };
    req.once("close", gone);
    req.on("error", gone);
    this.once("close", () => {
      req.unpipe(this);
      req.off("close", gone); // the listener for errors stays: one that nobody hears would end the process
    });
  }

  #watchRate(req: IncomingMessage): void {
    const { windowMs, minBytesPerSecond } = this.#limits;
    this.#timer = setInterval(() => {
      // Held up by storage, not by the client: the clock starts anew.
      if (this.writableNeedDrain || req.complete) this.#samples = [];
      const now = performance.now();
      this.#samples.push({ at: now, bytes: this.#receivedBytes });
      const [oldest] = this.#samples;
      if (oldest === undefined || this.#samples.length <= SAMPLES_PER_WINDOW) return;
      this.#samples.shift();
      const needed = (minBytesPerSecond * (now - oldest.at)) / 1000;
      if (this.#receivedBytes - oldest.bytes < needed) {
        this.destroy(
          new RequestTimeoutError(`The body arrives at less than ${minBytesPerSecond} bytes a second`),
        );
      }
    }, windowMs / SAMPLES_PER_WINDOW);
    this.#samples.push({ at: performance.now(), bytes: 0 });
  }
}
