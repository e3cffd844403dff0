/**
 * Imports as they change, for any number of listeners. While anybody listens, one statement at a time asks for the
 * versions of all imports that are listened to; what has changed is read once and given to every listener. Nothing is
 * queued for a slow listener: it gets the newest state when it asks for it.
 */
import type { Pool } from "pg";
import type { Logger } from "../../utils/logger.js";
import { noSuchImport } from "./control.js";
import { findJob, isOpen } from "./jobs.js";
import type { ImportStatus } from "./jobs.js";
import { viewsOf } from "./views.js";
import type { ImportJobView } from "./views.js";

export interface JobFeedOptions {
  readonly pool: Pool;
  readonly log: Logger;
  readonly pollMs: number;
}

/** Where an import stands, without its details. */
export interface JobPosition {
  readonly version: number;
  readonly status: ImportStatus;
}

export interface JobSubscription {
  /**
   * The newest state whose version is not `seen`, as soon as there is one; the same object for every listener. Null
   * when `signal` aborts, when the import is gone, and when its account is. Rides out an outage of the database.
   */
  next(seen: number | null, signal: AbortSignal): Promise<ImportJobView | null>;
  /** Call it once, when nobody will ask any more. */
  close(): void;
}

/** Nothing changes by itself any more. */
export const isSettled = (status: ImportStatus): boolean => !isOpen(status) && status !== "undoing";

export class JobFeed {
  readonly #options: JobFeedOptions;
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | undefined;
  #polling = false;
  #pollAgain = false;
  #failing = false;

  constructor(options: JobFeedOptions) {
    this.#options = options;
  }

  /** Throws `NotFoundError`, for a stranger's import too. */
  async position(userId: string, importId: string): Promise<JobPosition> {
    const { rows } = await this.#options.pool.query<JobPosition>({
      name: "job-position",
      text: "select version, status from import_jobs where id = $1 and user_id = $2",
      values: [importId, userId],
    });
    if (rows[0] === undefined) throw noSuchImport();
    return rows[0];
  }

  /** Listens to an import whose `position` was asked for just now: nothing older than that is given. */
  subscribe(importId: string, { version }: JobPosition): JobSubscription {
    const watched = this.#watched.get(importId) ?? new Watched(importId);
    this.#watched.set(importId, watched);
    watched.listeners += 1;
    if ((watched.state?.version ?? -1) < version) this.#pollNow();
    return {
      next: async (seen, signal) => {
        while (!signal.aborted && !watched.gone) {
          const { state } = watched;
          if (state !== undefined && state.version >= version && state.version !== seen) return state;
          await watched.change(signal);
        }
        return null;
      },
      close: () => {
        watched.listeners -= 1;
        if (watched.listeners > 0) return;
        if (this.#watched.get(importId) === watched) this.#watched.delete(importId);
        if (this.#watched.size === 0) clearTimeout(this.#timer);
      },
    };
  }

  /** Without waiting for the interval; a poll that has begun may be too early to see what the caller has seen. */
  #pollNow(): void {
    clearTimeout(this.#timer);
    if (this.#polling) this.#pollAgain = true;
    else void this.#poll();
  }

  async #poll(): Promise<void> {
    this.#polling = true;
    this.#pollAgain = false;
    try {
      await this.#look();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#options.log.warn("imports cannot be watched at the moment", { error });
      this.#failing = true;
    }
    this.#polling = false;
    if (this.#watched.size === 0) return;
    const delayMs = this.#pollAgain && !this.#failing ? 0 : this.#options.pollMs;
    this.#timer = setTimeout(() => void this.#poll(), delayMs);
  }

  async #look(): Promise<void> {
    const watched = [...this.#watched.values()];
    const { rows } = await this.#options.pool.query<{ id: string; version: number }>({
      name: "job-feed",
      text: `
        select j.id, j.version from import_jobs j join users u on u.id = j.user_id
         where j.id = any($1::uuid[]) and u.disabled_at is null`,
      values: [watched.map(({ id }) => id)],
    });
    const versions = new Map(rows.map(({ id, version }) => [id, version]));
    const failures: unknown[] = [];
    for (const one of watched) {
      const version = versions.get(one.id);
      if (version === undefined) this.#forget(one);
      else if (version !== one.state?.version && one.listeners > 0)
        // An import that cannot be read must not keep the others from their listeners.
        await this.#read(one).catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }

  async #read(watched: Watched): Promise<void> {
    const { pool } = this.#options;
    const job = await findJob(pool, watched.id);
    const [view] = job === undefined ? [] : await viewsOf(pool, [job]);
    if (view === undefined) this.#forget(watched);
    else watched.show(view);
  }

  #forget(watched: Watched): void {
    // Somebody may have begun to listen anew meanwhile.
    if (this.#watched.get(watched.id) === watched) this.#watched.delete(watched.id);
    watched.vanish();
  }
}

/** One import that is listened to. */
class Watched {
  listeners = 0;
  #state: ImportJobView | undefined;
  #gone = false;
  readonly #waiting = new Set<() => void>();

  constructor(readonly id: string) {}

  get state(): ImportJobView | undefined {
    return this.#state;
  }

  get gone(): boolean {
    return this.#gone;
  }

  show(state: ImportJobView): void {
    this.#state = state;
    this.#wake();
  }

  vanish(): void {
    this.#gone = true;
    this.#wake();
  }

  /** Resolves at the next change, or when `signal` aborts, which it must not have done yet. */
  change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const done of [...this.#waiting]) done();
  }
}
