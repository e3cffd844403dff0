/**
 * Redis as comfort: it makes things faster and is never the only place where something is kept. When it is
 * gone every read is a miss and every write is skipped; no caller ever sees an error from here.
 */
import { Redis } from "ioredis";
import type { Logger } from "../../utils/logger.js";
import { CircuitBreaker } from "./CircuitBreaker.js";

export interface RedisOptions {
  readonly url: string;
  readonly log: Logger;
  /** Put before every key, so that several installations (and test runs) can share a server. */
  readonly namespace?: string;
}

export interface RedisHealth {
  readonly ok: boolean;
  readonly latencyMs: number | null;
}

/** Runs whole: nobody else's command comes in between. */
export interface RedisScript {
  /** Letters only, unique. */
  readonly name: string;
  readonly lua: string;
}

/** Keys that are asked for together. */
interface Batch {
  readonly keys: string[];
  /** In the order of the keys; undefined when there was no answer. */
  readonly values: Promise<readonly (Buffer | null)[] | undefined>;
}

/** So many answers of the largest kind are 16 MiB at once. */
const MAX_BATCH = 32;

/** Answer of a command, or the fact that there was none. */
type Outcome<T> = { readonly reached: true; readonly value: T } | { readonly reached: false };

const CONNECT_TIMEOUT_MS = 1000;
const COMMAND_TIMEOUT_MS = 300;
/** A server that refuses commands is said to do so this often. */
const REFUSED_LOG_MS = 60_000;
/** Less than a millisecond of the server's time. */
const SCANNED_AT_ONCE = 1000;
/** Keys written together must not expire together. */
const TTL_JITTER = 0.1;

export class RedisService {
  readonly #client: Redis;
  readonly #log: Logger;
  readonly #namespace: string;
  readonly #loading = new Map<string, Promise<unknown>>();
  readonly #breaker: CircuitBreaker;
  readonly #scripts = new Map<string, (...args: readonly (string | number)[]) => Promise<unknown>>();
  #batch: Batch | undefined;
  #reported: "up" | "down" = "up";
  #refusedAt = -Infinity;

  constructor({ url, log, namespace = "playlog" }: RedisOptions) {
    this.#log = log;
    this.#namespace = namespace;
    this.#client = new Redis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 1,
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      autoResendUnfulfilledCommands: false, // a command whose answer was lost may have run
      retryStrategy: (attempt) => Math.min(100 * 2 ** attempt, 2000) + Math.random() * 100,
    });
    this.#breaker = new CircuitBreaker(async () => {
      await this.#client.ping();
      this.#report("up");
    });
    this.#client.on("error", (error: Error) => this.#report("down", error));
    this.#client.on("ready", () => {
      this.#breaker.succeeded();
      this.#report("up");
    });
  }

  /** Waits up to a second for the first connection; goes on trying in the background. True when connected. */
  async connect(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<false>((resolve) => {
      timer = setTimeout(() => resolve(false), CONNECT_TIMEOUT_MS);
    });
    const connected = this.#client.connect().then(
      () => true,
      () => false, // reported by the "error" listener
    );
    try {
      return await Promise.race([connected, deadline]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Null when there is no such key, or no Redis. */
  async get(key: string): Promise<string | null> {
    const outcome = await this.#run(() => this.#client.get(this.#key(key)));
    return outcome.reached ? outcome.value : null;
  }

  /** False when Redis could not be reached: the old value, if any, may still be there. */
  async set(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    const ttlMs = Math.max(1, Math.round(ttlSeconds * 1000));
    return (await this.#run(() => this.#client.set(this.#key(key), value, "PX", ttlMs))).reached;
  }

  /**
   * Undefined when there was no answer, so that callers do not try to write to a server that is away. What is asked for in
   * one turn of the event loop goes out as one command: writing to a socket costs more than the command.
   */
  async getBytes(key: string): Promise<Buffer | null | undefined> {
    const batch = (this.#batch ??= this.#nextBatch());
    const index = batch.keys.push(this.#key(key)) - 1;
    if (batch.keys.length === MAX_BATCH) this.#batch = undefined;
    return (await batch.values)?.[index];
  }

  #nextBatch(): Batch {
    const keys: string[] = [];
    const values = new Promise<readonly (Buffer | null)[] | undefined>((resolve) => {
      setImmediate(() => {
        if (this.#batch?.keys === keys) this.#batch = undefined;
        void this.#run(() => this.#client.mgetBuffer(keys)).then((outcome) =>
          resolve(outcome.reached ? outcome.value : undefined),
        );
      });
    });
    return { keys, values };
  }

  /** As `set`, for about `ttlSeconds`, and takes the keys of `instead` away in the same round trip. */
  async setBytes(
    key: string,
    value: Buffer,
    ttlSeconds: number,
    instead: readonly string[] = [],
  ): Promise<boolean> {
    const ttlMs = Math.round(ttlSeconds * 1000 * jitter());
    const set = this.#run(() => this.#client.set(this.#key(key), value, "PX", ttlMs));
    if (instead.length > 0) void this.del(...instead); // sent together with the command before
    return (await set).reached;
  }

  /** What the script answers; undefined when Redis could not be reached, or refused. It may have run all the same. */
  async evaluate(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const command = this.#command(script);
    const named = keys.map((key) => this.#key(key));
    const outcome = await this.#run(() => command(keys.length, ...named, ...args));
    return outcome.reached ? outcome.value : undefined;
  }

  /** False when Redis could not be reached: the keys may still be there. */
  async del(...keys: readonly string[]): Promise<boolean> {
    return (await this.#run(() => this.#client.del(keys.map((key) => this.#key(key))))).reached;
  }

  /**
   * Deletes every key that has one of these texts in it. Looks at all keys, a few at a time: for what happens seldom.
   * False when Redis could not be reached: some may still be there.
   */
  async deleteNaming(texts: readonly string[]): Promise<boolean> {
    let cursor = "0";
    do {
      const from = cursor;
      const seen = await this.#run(() =>
        this.#client.scan(from, "MATCH", this.#key("*"), "COUNT", SCANNED_AT_ONCE),
      );
      if (!seen.reached) return false;
      const [next, keys] = seen.value;
      const named = keys.filter((key) => texts.some((text) => key.includes(text)));
      if (named.length > 0 && !(await this.#run(() => this.#client.del(named))).reached) return false;
      cursor = next;
    } while (cursor !== "0");
    return true;
  }

  /**
   * The value under `key`, else what `load` gives, kept for about `ttlSeconds`. Callers that ask for one key at
   * the same time share one `load`. Null is not kept. `parse` judges what was found: null means "not ours,
   * load again".
   */
  async getOrLoad<T>(
    key: string,
    ttlSeconds: number,
    load: () => Promise<T | null>,
    parse: (found: unknown) => T | null,
  ): Promise<T | null> {
    const running = this.#loading.get(key);
    // Only this method fills the map, and a key always stands for one type.
    if (running !== undefined) return running as Promise<T | null>;
    const loading = this.#readThrough(key, ttlSeconds, load, parse).finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return loading;
  }

  /** For metrics; asks no server. */
  get state(): { readonly connected: boolean; readonly breakerOpen: boolean } {
    return {
      connected: this.#client.status === "ready",
      breakerOpen: this.#breaker.open,
    };
  }

  /** Asks the server even while the breaker is open. */
  async ping(): Promise<RedisHealth> {
    const started = performance.now();
    try {
      await this.#client.ping();
      return { ok: true, latencyMs: Math.round((performance.now() - started) * 100) / 100 };
    } catch {
      return { ok: false, latencyMs: null };
    }
  }

  /** May be called twice, and without `connect`. */
  close(): void {
    this.#breaker.close();
    this.#client.disconnect();
  }

  async #readThrough<T>(
    key: string,
    ttlSeconds: number,
    load: () => Promise<T | null>,
    parse: (found: unknown) => T | null,
  ): Promise<T | null> {
    const found = await this.get(key);
    const known = found === null ? null : parse(parseJson(found));
    if (known !== null) return known;
    const value = await load();
    if (value !== null) await this.set(key, JSON.stringify(value), ttlSeconds * jitter());
    return value;
  }

  /** ioredis sends a script once, and from then on its hash. */
  #command({ name, lua }: RedisScript) {
    const known = this.#scripts.get(name);
    if (known !== undefined) return known;
    this.#client.defineCommand(name, { lua });
    // Its type knows nothing of a command that was defined a moment ago.
    const methods = this.#client as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
    const command = (...args: readonly (string | number)[]) => methods[name]!(...args);
    this.#scripts.set(name, command);
    return command;
  }

  #key(key: string): string {
    return `${this.#namespace}:${key}`;
  }

  async #run<T>(command: () => Promise<T>): Promise<Outcome<T>> {
    if (this.#breaker.open) return { reached: false };
    try {
      const value = await command();
      this.#breaker.succeeded();
      this.#report("up");
      return { reached: true, value };
    } catch (error) {
      if (error instanceof Error && error.name === "ReplyError") this.#reportRefused(error);
      else {
        this.#breaker.failed();
        this.#report("down", error);
      }
      return { reached: false };
    }
  }

  /** It answers at once (out of memory, read-only, loading ...), and reads may work while writes do not. */
  #reportRefused(error: Error): void {
    const now = performance.now();
    if (now - this.#refusedAt < REFUSED_LOG_MS) return;
    this.#refusedAt = now;
    this.#log.warn("redis refuses commands; going on without what they were for", { error });
  }

  /** One line per change of state, not one per command. */
  #report(state: "up" | "down", error?: unknown): void {
    if (state === this.#reported) return;
    this.#reported = state;
    if (state === "up") this.#log.info("redis answers again");
    else this.#log.warn("redis does not answer; going on without it", { error });
  }
}

const jitter = (): number => 1 + (Math.random() * 2 - 1) * TTL_JITTER;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
