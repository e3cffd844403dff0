/**
 * Whether somebody is reading. Each api process says so in Redis, at most once a second and only while it is asked for
 * something; whoever could give way looks there. Without Redis nobody is known to read.
 */
import type { RedisService } from "./cache/RedisService.js";

const KEY = "readers";
const SAID_EVERY_MS = 1000;
/** A reader who looks at a page, and asks for the next one, goes on reading. */
const READING_MS = 3000;
const ASKED_EVERY_MS = 500;

/** For an api. */
export class ReaderNotice {
  #saidAt = -Infinity;

  constructor(private readonly redis: Pick<RedisService, "set">) {}

  /** Somebody reads now. Waits for nothing. */
  note(): void {
    const now = performance.now();
    if (now - this.#saidAt < SAID_EVERY_MS) return;
    this.#saidAt = now;
    void this.redis.set(KEY, "1", READING_MS / 1000);
  }
}

/** For a worker. */
export class ReaderWatch {
  #askedAt = -Infinity;
  #active = false;

  constructor(private readonly redis: Pick<RedisService, "get">) {}

  async active(): Promise<boolean> {
    const now = performance.now();
    if (now - this.#askedAt >= ASKED_EVERY_MS) {
      this.#askedAt = now;
      this.#active = (await this.redis.get(KEY)) !== null;
    }
    return this.#active;
  }
}
