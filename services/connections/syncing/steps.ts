/**
 * The step of a sync, for whatever runs it: ask the provider for one page and commit it, or for the next stage of a file. It may run any number of times,
 * also twice at once: the place in the provider's pages moves in the same transaction that commits the page. See
 * docs/adr/0024.
 *
 * Throws `ImportError` where running again cannot help, `JobClosedError` when this run has nothing to do any more, the
 * signal's reason when it was asked to stop, and anything else (a lost connection) to be run again.
 */
import type { Pool } from "pg";
import type { ConnectionProvider } from "../../../db/models/enums.js";
import { begin } from "../../import/beginning.js";
import { findJob } from "../../import/jobs.js";
import type { JobRow, RunRef } from "../../import/jobs.js";
import type { StepContext, StepsDependencies } from "../../import/stepContext.js";
import { ImportError } from "../../import/verdicts.js";
import { CatalogueResolver } from "../../import/writing/resolver.js";
import type { SyncStepResult } from "../../../workflows/contracts.js";
import { ProviderError, RateLimitedError, ReauthNeededError } from "../errors.js";
import type { BlobStore } from "../../storage/BlobStore.js";
import type { ArchiveProvider, SyncAccess, SyncProvider } from "../providers/types.js";
import { markNeedsReauth } from "../reauth.js";
import { archiveStage } from "./archives.js";
import { commitPage } from "./pages.js";
import { beginPart } from "./part.js";
import { countFailure, findPlace, noteWait, PlaceMovedError } from "./runState.js";
import type { Place } from "./runState.js";
import type { SyncObserver } from "./observer.js";

export interface SyncDependencies {
  readonly pool: Pool;
  readonly providers: ReadonlyMap<ConnectionProvider, SyncProvider | ArchiveProvider>;
  /** Where the file of a provider that gives one is kept. */
  readonly blobs: BlobStore;
  /** Of such a file. */
  readonly uploadMaxBytes: number;
  /** The way to the secrets of a connection. */
  readonly openAccess: (connectionId: string) => Promise<SyncAccess>;
  readonly observer: StepsDependencies["observer"] & SyncObserver;
  readonly limits: Pick<StepsDependencies["limits"], "maxRejected">;
  /** Pages that one sync asks for; the next one goes on where it ended. */
  readonly pagesMax: number;
  readonly onCommit?: StepsDependencies["onCommit"];
  /** For tests: the first pause after a provider did not answer, in milliseconds, and the tries in a row. */
  readonly firstPauseMs?: number;
  readonly triesMax?: number;
}

export interface SyncSteps {
  readonly step: (ref: RunRef, context: StepContext) => Promise<SyncStepResult>;
}

/** Pauses of 5, 10, 20 s and so on: a provider that is away for ten minutes costs nobody their sync. */
const FIRST_PAUSE_MS = 5000;
const LONGEST_PAUSE_MS = 10 * 60 * 1000;
const TRIES_MAX = 8;
/** Entries; what a person listened to since the last sync is little. */
const REMEMBERED = 5000;
const LOOK_AGAIN: SyncStepResult = { status: "more", read: 0, inserted: 0 };

export function createSyncSteps(deps: SyncDependencies): SyncSteps {
  const resolver = new CatalogueResolver(deps.pool, REMEMBERED);
  return { step: (ref, context) => new SyncStep(deps, resolver, ref, context).run() };
}

class SyncStep {
  constructor(
    private readonly deps: SyncDependencies,
    private readonly resolver: CatalogueResolver,
    private readonly ref: RunRef,
    private readonly context: StepContext,
  ) {}

  async run(): Promise<SyncStepResult> {
    const { pool } = this.deps;
    const before = await findJob(pool, this.ref.importId);
    if (before?.attempt === this.ref.attempt && before.status === "cancelling") return { status: "stopped" };
    const job = await begin(this.deps, this.ref);
    if (job === "paused") return { status: "paused" };
    if (job.sha256 !== null) return { status: "upload" };
    const place = await findPlace(pool, job, (name) => {
      const provider = this.deps.providers.get(name);
      return provider !== undefined && "page" in provider && provider.rereads === true;
    });
    if (place === undefined)
      throw new ImportError("provider", "The connection of this sync has been removed");
    const provider = this.deps.providers.get(place.provider);
    if (provider === undefined)
      throw new ImportError("provider", `playlog is not set up for ${place.provider}`);
    try {
      return "page" in provider
        ? await this.#page(job, place, provider)
        : await this.#archive(job, place, provider);
    } catch (error) {
      this.context.signal.throwIfAborted();
      if (error instanceof PlaceMovedError) return LOOK_AGAIN;
      return this.#answerTo(error, place);
    }
  }

  async #page(job: JobRow, place: Place, provider: SyncProvider): Promise<SyncStepResult> {
    const part = await beginPart(this.deps.pool, job, provider.format);
    if (part.done) return { status: "done", read: 0, inserted: 0 };
    const { signal, heartbeat } = this.context;
    const { cursor, polledAt, range, pages } = place;
    const { pagesMax } = this.deps;
    if (range !== null && pages >= pagesMax * job.attempt) {
      const message = `The range has more than ${pages} pages; a retry goes on where this ended`;
      throw new ImportError("resource_limit", message);
    }
    heartbeat({ page: pages });
    const access = await this.deps.openAccess(place.connectionId);
    const request = { access, cursor, polledAt, signal };
    const page = await provider.page(range === null ? request : { ...request, range });
    signal.throwIfAborted();
    this.deps.observer.syncStepped({ provider: place.provider, outcome: "page" });
    // No other sync goes on with a range.
    const last = !page.more || (range === null && pages + 1 >= pagesMax);
    const target = { job, part, place, format: provider.format, last };
    const committed = await commitPage(this.deps, this.resolver, target, page, this.context);
    if (committed === null) return LOOK_AGAIN;
    if ("stopped" in committed) return { status: committed.stopped };
    return { status: last ? "done" : "more", ...committed };
  }

  async #archive(job: JobRow, place: Place, provider: ArchiveProvider): Promise<SyncStepResult> {
    const access = await this.deps.openAccess(place.connectionId);
    const next = await archiveStage(this.deps, { job, place, access, provider }, this.context);
    this.deps.observer.syncStepped({ provider: place.provider, outcome: "page" });
    switch (next.kind) {
      case "wait":
        return this.#wait("rate_limited", next.until);
      case "upload":
        return { status: "upload" };
      case "done":
        return { status: "done", read: 0, inserted: 0 };
    }
  }

  /** What an error of the provider comes to; any other is thrown on. */
  async #answerTo(error: unknown, place: Place): Promise<SyncStepResult> {
    const { pool, observer } = this.deps;
    const { provider, connectionId } = place;
    if (error instanceof RateLimitedError) {
      observer.syncStepped({ provider, outcome: "rate_limited" });
      return this.#wait("rate_limited", error.until);
    }
    if (error instanceof ReauthNeededError) {
      observer.syncStepped({ provider, outcome: "needs_reauth" });
      await markNeedsReauth(pool, connectionId);
      throw new ImportError("provider", error.message, { cause: error });
    }
    if (!(error instanceof ProviderError)) throw error;
    observer.syncStepped({ provider, outcome: "provider_error" });
    if (!error.retryable) throw new ImportError("provider", error.message, { cause: error });
    const failures = await countFailure(pool, this.ref.importId);
    this.context.log.warn("a provider did not answer as documented", { provider, failures, error });
    if (failures >= (this.deps.triesMax ?? TRIES_MAX))
      throw new ImportError("provider", error.message, { cause: error });
    const pauseMs = (this.deps.firstPauseMs ?? FIRST_PAUSE_MS) * 2 ** (failures - 1);
    return this.#wait("provider_down", Date.now() + Math.min(pauseMs, LONGEST_PAUSE_MS));
  }

  async #wait(reason: "rate_limited" | "provider_down", untilMs: number): Promise<SyncStepResult> {
    const until = new Date(untilMs);
    await noteWait(this.deps.pool, this.ref, reason, until);
    this.deps.observer.waiting({ reason });
    return { status: "waiting", until: until.toISOString(), reason };
  }
}
