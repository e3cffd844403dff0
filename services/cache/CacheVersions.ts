/**
 * The versions that keys of cached answers are made of. Held in memory only while this process provably hears
 * every change; otherwise the primary is asked, each time.
 */
import type pg from "pg";
import type { DatabaseListener } from "../../db/listener.js";
import {
  CHANGE_CHANNEL,
  parseChange,
  readVersions,
  type Scope,
  scopeKey,
} from "../../db/queries/cacheVersions.js";

/** Scopes kept in memory, about 150 bytes each. */
const MAX_KNOWN = 20_000;

interface Known {
  /** The highest version heard or read so far. */
  version: number;
  /** Whether it was read: hearing of a change while it is being read must not be lost. */
  complete: boolean;
}

export interface CacheVersionsOptions {
  readonly listener: DatabaseListener;
  /** Of the primary: a replica may not have seen the change that was just announced. */
  readonly pool: pg.Pool;
  /** Told of scopes whose version was news: it may be of a change that the listener has not heard of yet. */
  readonly sawPrimary?: (scopes: readonly Scope[]) => void;
}

export class CacheVersions {
  readonly #listener: DatabaseListener;
  readonly #pool: pg.Pool;
  readonly #sawPrimary: (scopes: readonly Scope[]) => void;
  #known = new Map<string, Known>();

  constructor({ listener, pool, sawPrimary = () => undefined }: CacheVersionsOptions) {
    this.#listener = listener;
    this.#pool = pool;
    this.#sawPrimary = sawPrimary;
    listener.subscribe(CHANGE_CHANNEL, {
      received: (payload) => this.#heard(payload),
      lost: () => (this.#known = new Map()),
    });
  }

  /**
   * One number a scope, in order; what is read from the primary after this call is at least as new. Null when the owner
   * of a scope is gone: such an answer is not cached. Throws when the primary has to be asked and does not answer.
   */
  async current(scopes: readonly Scope[]): Promise<readonly number[] | null> {
    if (!this.#listener.trusted) {
      const versions = complete(await readVersions(this.#pool, scopes));
      this.#sawPrimary(scopes);
      return versions;
    }
    return this.known(scopes) ?? this.#read(scopes);
  }

  /** What `current` would say without asking anybody; undefined when it would have to. */
  known(scopes: readonly Scope[]): readonly number[] | undefined {
    if (!this.#listener.trusted) return undefined;
    const versions: number[] = [];
    for (const scope of scopes) {
      const known = this.#known.get(scopeKey(scope));
      if (known?.complete !== true) return undefined;
      versions.push(known.version);
    }
    return versions;
  }

  /** Resolves when this process has heard of everything committed before; soon, or else it asks the primary. */
  async caughtUp(patienceMs: number): Promise<void> {
    await this.#listener.caughtUp(patienceMs);
  }

  async #read(scopes: readonly Scope[]): Promise<readonly number[] | null> {
    // Before the question is sent, so that an answer which is old when it arrives meets what was heard meanwhile.
    const entries = scopes.map((scope) => this.#entry(scopeKey(scope)));
    const versions = complete(await readVersions(this.#pool, scopes));
    const isNews = (_: Scope, index: number): boolean => {
      const { complete: wasRead, version } = entries[index]!;
      return !wasRead || versions === null || version < versions[index]!;
    };
    this.#sawPrimary(scopes.filter(isNews));
    if (versions === null) return null;
    return versions.map((version, index) => {
      const known = entries[index]!;
      known.version = Math.max(known.version, version);
      known.complete = true;
      return known.version;
    });
  }

  #entry(key: string): Known {
    const present = this.#known.get(key);
    if (present !== undefined) return present;
    if (this.#known.size >= MAX_KNOWN) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest);
        break;
      }
    }
    const entry = { version: 0, complete: false };
    this.#known.set(key, entry);
    return entry;
  }

  #heard(payload: string): void {
    const change = parseChange(payload);
    const known = change === null ? undefined : this.#known.get(change.key);
    if (change === null || known === undefined) return;
    known.version = Math.max(known.version, change.version);
  }
}

const complete = (versions: readonly (number | null)[]): readonly number[] | null =>
  versions.every((version) => version !== null) ? versions : null;
