/** What a provider's client offers to a sync, and what it is given. The clients know no database and no queue. */
import type { Readable } from "node:stream";
import type { ConnectionProvider, PlaySource } from "../../../db/models/enums.js";
import type { PartContext, Verdict } from "../../import/types.js";
import type { StoredBlob } from "../../storage/BlobStore.js";

/** How the records of a live API are judged: as those of a file are, without the file. */
export interface LiveFormat {
  /** As it stands in import_parts.format. */
  readonly name: string;
  readonly source: PlaySource;
  /** Pure: same record and context, same verdict. */
  judge(record: unknown, context: PartContext): Verdict;
  /** The record as text for the ledger, without personal fields, at most 1 KB. */
  excerpt(record: unknown): string;
}

/** The account at the provider, and the way to its secrets. */
export interface SyncAccess {
  /** Id of the connection: whose share of a provider's limit it is. */
  readonly connectionId: string;
  readonly account: string;
  /**
   * A token good for now, refreshed when it is about to end; null for providers that need none. `refused`: a token the
   * provider did not take, which is then refreshed whatever its age. Throws ReauthNeededError.
   */
  token(refused?: string): Promise<string | null>;
}

/** Unix milliseconds, half open; null: no bound. */
export interface PlayRange {
  readonly from: number | null;
  readonly until: number | null;
}

export interface PageRequest {
  readonly access: SyncAccess;
  /** As the last page of this connection left it; null before the first. Checked by the client, for it may be old. */
  readonly cursor: Readonly<Record<string, unknown>> | null;
  /** Unix milliseconds, stored before the first try at this page: a page fetched again is fetched at the same time. */
  readonly polledAt: number;
  readonly signal: AbortSignal;
  /** Of a reading of its own, that begins without a cursor: no other plays are wanted. More may be given. */
  readonly range?: PlayRange;
}

export interface SyncPage {
  /** As the provider gave them. */
  readonly records: readonly unknown[];
  /** Where the next page begins; is stored with these records, or not at all. */
  readonly cursor: Readonly<Record<string, unknown>>;
  /** Whether there is another page to fetch now. */
  readonly more: boolean;
  /** Unix milliseconds; a stretch of time that the provider no longer tells anything about. */
  readonly gap: { readonly from: number; readonly until: number } | null;
}

/** One provider with pages of plays. At most one request to the provider for each page. */
export interface SyncProvider {
  readonly provider: ConnectionProvider;
  readonly format: LiveFormat;
  /** What was read can be read again, under the same keys: so a sync of a range can read by itself, and move no cursor. */
  readonly rereads?: true;
  /**
   * Throws RateLimitedError (wait, then the same again), ReauthNeededError (only the user can help) or ProviderError
   * (`retryable`: the same may succeed later).
   */
  page(request: PageRequest): Promise<SyncPage>;
}

export interface ArchiveRequest extends PageRequest {
  /** Keeps a file for the import; to be called at most once, by the stage that ends in `upload`. */
  readonly store: (bytes: Readable) => Promise<StoredBlob>;
}

/** One stage on the way to a file. */
export interface ArchiveStage {
  /** Is stored before the next stage is begun: what was asked of the provider is never forgotten. */
  readonly cursor: Readonly<Record<string, unknown>>;
  /** `until`: Unix milliseconds, when to ask again. `upload`: the file is there. `done`: there is none to import. */
  readonly next:
    | { readonly kind: "wait"; readonly until: number }
    | { readonly kind: "upload"; readonly filename: string; readonly blob: StoredBlob }
    | { readonly kind: "done" };
}

/** A provider that gives no pages but a file, which takes its time to make and is then imported as an upload is. */
export interface ArchiveProvider {
  readonly provider: ConnectionProvider;
  /** Throws as `SyncProvider.page` does. */
  archive(request: ArchiveRequest): Promise<ArchiveStage>;
}

/** What somebody shows when they connect an account: a token or a name, or both. */
export interface AccountClaim {
  /** Access token, user token, or the token of a ListenBrainz account. */
  readonly token: string | null;
  readonly username: string | null;
}

export interface IdentifiedAccount {
  /** As the provider writes it; stays the same while the account does. */
  readonly account: string;
  /** Whether the claim shows that the account is theirs: a name alone shows nothing. */
  readonly proven: boolean;
}

/**
 * Asks the provider whose account it is. Throws RateLimitedError, ReauthNeededError (the token is not taken, or there is no
 * such account) or ProviderError.
 */
export type IdentifyAccount = (claim: AccountClaim, signal?: AbortSignal) => Promise<IdentifiedAccount>;
