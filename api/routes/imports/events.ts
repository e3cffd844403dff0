/** An import as Server-Sent Events: read with fetch, since a browser's EventSource cannot send a token. */
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { AuthService } from "../../../services/auth/AuthService.js";
import { isSettled, type JobFeed, type JobSubscription } from "../../../services/import/events.js";
import type { ImportJobView } from "../../../services/import/views.js";
import { TooManyRequestsError } from "../../../utils/errors.js";
import { closingSignal } from "../../httpServer.js";
import type { ApiMetrics } from "../../metrics/ApiMetrics.js";
import type { AppContext, Caller } from "../../types.js";
import { UserSlots } from "../../userSlots.js";
import { presentImport } from "./presenter.js";

/** How long a client should wait before it comes back. */
const RECONNECT_MS = 2000;
const RETRY_AFTER_SECONDS = 10;
/** A stream that must end does not wait longer for a client that reads nothing. */
const ENDING_MS = 500;

const OPENING = `retry: ${RECONNECT_MS}\n\n`;
const COMMENT = ": keep-alive\n\n";

export interface ImportEventsOptions {
  readonly feed: JobFeed;
  readonly auth: Pick<AuthService, "works">;
  readonly streamsPerUser: number;
  readonly keepAliveMs: number;
  readonly metrics: Pick<ApiMetrics, "eventStreams">;
}

export class ImportEvents {
  readonly #options: ImportEventsOptions;
  readonly #slots: UserSlots;
  /** Each state is written out once, however many listen. */
  readonly #frames = new WeakMap<ImportJobView, Buffer>();

  constructor(options: ImportEventsOptions) {
    this.#options = options;
    const { streamsPerUser } = options;
    this.#slots = new UserSlots(
      streamsPerUser,
      () =>
        new TooManyRequestsError(
          RETRY_AFTER_SECONDS,
          `At most ${streamsPerUser} streams of events at once`,
          "too_many_streams",
        ),
    );
  }

  /** Answers until the stream is over. Before its first byte it fails like any request; after that never. */
  async answer(ctx: AppContext, caller: Caller, importId: string): Promise<void> {
    await this.#slots.run(caller.userId, async () => {
      const { feed } = this.#options;
      const seen = lastEventId(ctx);
      const position = await feed.position(caller.userId, importId);
      if (isSettled(position.status) && position.version === seen) {
        ctx.status = 204;
        return;
      }
      ctx.status = 200;
      ctx.set("Content-Type", "text/event-stream");
      ctx.set("X-Accel-Buffering", "no");
      if (ctx.method === "HEAD") return;
      const subscription = feed.subscribe(importId, position);
      try {
        await this.#stream(ctx, caller, subscription, seen);
      } finally {
        subscription.close();
      }
    });
  }

  async #stream(
    ctx: AppContext,
    caller: Caller,
    subscription: JobSubscription,
    lastSeen: number | null,
  ): Promise<void> {
    const { res } = ctx;
    const stop = new AbortController();
    const end = (): void => stop.abort();
    const closing = closingSignal(res);
    res.on("error", end); // of a write that comes after the client went
    res.once("close", end);
    closing.addEventListener("abort", end);
    if (closing.aborted || res.destroyed) end();
    // Koa writes an answer after its handler; this one is written by its handler, which makes it one line in the log.
    ctx.respond = false;
    res.write(OPENING); // with the head: what fails from here on ends the connection
    this.#options.metrics.eventStreams(1);
    const timer = this.#keepAlive(res, caller, stop);
    try {
      await this.#send(res, subscription, lastSeen, stop.signal);
    } finally {
      this.#options.metrics.eventStreams(-1);
      clearInterval(timer);
      await finish(res, stop.signal);
      closing.removeEventListener("abort", end);
    }
  }

  /** The newest state, then the newest after each change, no faster than the client reads. */
  async #send(
    res: ServerResponse,
    subscription: JobSubscription,
    lastSeen: number | null,
    signal: AbortSignal,
  ): Promise<void> {
    let seen = lastSeen;
    for (;;) {
      const state = await subscription.next(seen, signal);
      if (state === null) return;
      seen = state.version;
      const written = res.write(this.#frame(state));
      if (isSettled(state.status)) return;
      if (!written) await once(res, "drain", { signal }).catch(() => undefined);
    }
  }

  #frame(state: ImportJobView): Buffer {
    const known = this.#frames.get(state);
    if (known !== undefined) return known;
    const data = JSON.stringify(presentImport(state));
    const frame = Buffer.from(`id: ${state.version}\nevent: job\ndata: ${data}\n\n`);
    this.#frames.set(state, frame);
    return frame;
  }

  /** Shows that the connection lives, and ends it when its session or API token does not any more. */
  #keepAlive(res: ServerResponse, caller: Caller, stop: AbortController): NodeJS.Timeout {
    let asking = false;
    const check = async (): Promise<void> => {
      if (asking) return;
      asking = true;
      // Nobody can tell while the database is away: that ends no stream.
      const works = await this.#options.auth.works(caller).catch(() => true);
      asking = false;
      if (!works) stop.abort();
    };
    return setInterval(() => {
      if (stop.signal.aborted) return;
      // What is not read yet shows the same; more of it would only take memory.
      if (!res.writableNeedDrain) res.write(COMMENT);
      void check();
    }, this.#options.keepAliveMs);
  }
}

/** Ends the answer and waits until it is handed over, after `signal` not for long. */
async function finish(res: ServerResponse, signal: AbortSignal): Promise<void> {
  if (res.destroyed) return;
  const over = new Promise<void>((resolve) => {
    res.once("finish", resolve);
    res.once("close", resolve);
  });
  let timer: NodeJS.Timeout | undefined;
  const hurry = (): void => {
    timer ??= setTimeout(() => res.destroy(), ENDING_MS);
  };
  signal.addEventListener("abort", hurry);
  if (signal.aborted) hurry();
  res.end();
  await over;
  clearTimeout(timer);
  signal.removeEventListener("abort", hurry);
}

/** A version of the import; null when the client names none, or something else. */
function lastEventId(ctx: AppContext): number | null {
  const given = ctx.get("Last-Event-ID");
  return /^\d{1,15}$/.test(given) ? Number(given) : null;
}
