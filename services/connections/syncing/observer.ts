import type { ConnectionProvider } from "../../../db/models/enums.js";

/** What a step of a sync tells whoever counts. Called after the fact, never awaited. */
export interface SyncObserver {
  /** What a request to a provider came to. `page`: it gave one, or the next stage of a file. */
  syncStepped(event: {
    readonly provider: ConnectionProvider;
    readonly outcome: "page" | "rate_limited" | "needs_reauth" | "provider_error";
  }): void;
}

/** Nobody counts. */
export const NO_SYNC_OBSERVER: SyncObserver = { syncStepped: () => {} };
