/**
 * Finished answers, read through Redis: the bytes as they go out, with their ETag, under a key that names the reader,
 * the route, its input and the versions of all that the answer shows. A change makes new keys; nothing is invalidated,
 * so nothing can fail to be. See docs/adr/0011.
 */
import { promisify } from "node:util";
import { gzip as gzipCallback } from "node:zlib";
import { type Scope, scopeKey } from "../../db/queries/cacheVersions.js";
import { shortHash } from "../../utils/shortHash.js";
import { BoundedMap } from "../limits/BoundedMap.js";
import type { CacheVersions } from "./CacheVersions.js";
import { decodePage, type Encoding, encodePage, type Page, etagOf } from "./page.js";
import type { RedisService } from "./RedisService.js";
import { StoredKeys } from "./StoredKeys.js";

const gzip = promisify(gzipCallback);

/** Answers are kept about this long; versions decide about their truth, this only about memory. */
export const PAGE_SECONDS = 6 * 3600;
/** Larger ones are not kept: they cost Redis more than they save PostgreSQL. */
export const PAGE_MAX_BYTES = 512 * 1024;
/** Smaller ones do not get smaller. */
const GZIP_MIN_BYTES = 1024;
/** A tenth larger than by the default level, in less than half the time. */
const GZIP_LEVEL = 1;
/** How long a writer waits until this process has heard of the change. */
const WRITER_PATIENCE_MS = 500;

export interface PageRequest {
  readonly userId: string;
  /** Template of the route. */
  readonly route: string;
  /** Parameters and query, normalised: one text for inputs that mean the same. */
  readonly input: string;
  /** All that the answer depends on. */
  readonly scopes: readonly Scope[];
  readonly encoding: Encoding;
}

export interface Loaded {
  /** The body as JSON. */
  readonly body: Buffer;
  /** The hash of the body when absent. */
  readonly etag?: string | undefined;
  /** False when it turned out to depend on more than the scopes. */
  readonly keep: boolean;
}

/** miss: asked for and now kept. bypass: not kept, because Redis is away, the body too large or its owner gone. */
export type CacheOutcome = "hit" | "miss" | "bypass";
export type CacheObserver = (route: string, outcome: CacheOutcome) => void;

export interface PageCacheOptions {
  readonly redis: RedisService;
  readonly versions: CacheVersions;
  readonly observe?: CacheObserver;
}

export class PageCache {
  readonly #redis: RedisService;
  readonly #versions: CacheVersions;
  readonly #observe: CacheObserver;
  readonly #loading = new Map<string, Promise<Page>>();
  readonly #stored = new StoredKeys();

  constructor({ redis, versions, observe = () => undefined }: PageCacheOptions) {
    this.#redis = redis;
    this.#versions = versions;
    this.#observe = observe;
  }

  /**
   * The answer as kept, else as `load` gives it. Those who ask for the same at the same time share one load, and its
   * error. Throws what `load` throws, and what the primary throws when it has to be asked for versions.
   */
  async get(request: PageRequest, load: () => Promise<Loaded>): Promise<Page> {
    // Before the body is read: a body may be newer than its key says, never older.
    const versions = this.#versions.known(request.scopes) ?? (await this.#versions.current(request.scopes));
    if (versions === null) {
      this.#observe(request.route, "bypass");
      return plainPage(await load());
    }
    const key = keyOf(request, versions);
    const running = this.#loading.get(key);
    if (running !== undefined) {
      this.#observe(request.route, "hit");
      return running;
    }
    const loading = this.#readThrough(request, key, load);
    this.#loading.set(key, loading);
    return loading;
  }

  /** To be awaited between a change and its answer: whoever made it sees it in the next answer of this process. */
  async seen(): Promise<void> {
    await this.#versions.caughtUp(WRITER_PATIENCE_MS);
  }

  /** Forgets at its end that it was running; it never ends at once. */
  async #readThrough(request: PageRequest, key: string, load: () => Promise<Loaded>): Promise<Page> {
    try {
      return await this.#read(request, key, load);
    } finally {
      this.#loading.delete(key);
    }
  }

  async #read(request: PageRequest, key: string, load: () => Promise<Loaded>): Promise<Page> {
    const { userId, route, encoding } = request;
    const found = await this.#redis.getBytes(key);
    const kept = found === undefined || found === null ? null : decodePage(found);
    if (kept !== null) {
      this.#observe(route, "hit");
      return kept;
    }
    const loaded = await load();
    if (found === undefined || !loaded.keep || loaded.body.length > PAGE_MAX_BYTES) {
      this.#observe(route, "bypass");
      return plainPage(loaded);
    }
    this.#observe(route, "miss");
    const page = await finishedPage(loaded, encoding);
    const instead = this.#stored.replace(userId, baseOf(request), key);
    void this.#redis.setBytes(key, encodePage(page), PAGE_SECONDS, instead); // nobody waits for it; never rejects
    return page;
  }
}

const plainPage = ({ body, etag = etagOf(body) }: Omit<Loaded, "keep">): Page => ({
  etag,
  encoding: "identity",
  body,
});

async function finishedPage(loaded: Loaded, encoding: Encoding): Promise<Page> {
  const page = plainPage(loaded);
  if (encoding === "identity" || page.body.length < GZIP_MIN_BYTES) return page;
  return { etag: page.etag, encoding, body: await gzip(page.body, { level: GZIP_LEVEL }) };
}

/** Inputs of which the hash is remembered: a client asks the same over and over. */
const MAX_HASHES = 1000;
const MAX_INPUT_LENGTH = 500;
const hashes = new BoundedMap<string, string>(MAX_HASHES);

function hashOf(input: string): string {
  const known = hashes.get(input);
  if (known !== undefined) return known;
  const hash = shortHash(input);
  if (input.length <= MAX_INPUT_LENGTH) hashes.set(input, hash);
  return hash;
}

/** What stays the same when versions move. Input may be long, and says what somebody looked for: only its hash is kept. */
const baseOf = ({ userId, route, input, encoding }: PageRequest): string =>
  `page:${userId}:${route}:${hashOf(input)}:${encoding}`;

function keyOf(request: PageRequest, versions: readonly number[]): string {
  const labels = request.scopes.map((scope, index) => `${scopeKey(scope)} ${versions[index] ?? ""}`);
  return `${baseOf(request)}:${labels.join(",")}`;
}
