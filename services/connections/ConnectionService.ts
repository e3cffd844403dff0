/** Connections of users to their accounts at providers, for the api. The syncs themselves run in the worker. */
import type pg from "pg";
import type { ConnectionProvider, OAuthProvider } from "../../db/models/enums.js";
import {
  type AppError,
  ConflictError,
  NotFoundError,
  UnauthorizedError,
  ValidationError,
} from "../../utils/errors.js";
import type { Logger } from "../../utils/logger.js";
import type { ProviderSettings } from "../../utils/providerSettings.js";
import type { ImportQueue } from "../import/ImportQueue.js";
import { type ImportJobView, viewsOf } from "../import/views.js";
import { connectionsOf, findConnection, saveConnection, type Secrets } from "./accounts.js";
import { type Availability, availabilities, availabilityOf } from "./availability.js";
import type { ProviderFetch } from "./http/providerFetch.js";
import { type Claim, checkClaim } from "./claims.js";
import { forgetConnection } from "./forgetting.js";
import { callbackUrl, type OAuthClient } from "./oauth/clients.js";
import { beginAuthorization, redeemState, type Redeemed } from "./oauth/states.js";
import { exchangeCode } from "./oauth/tokens.js";
import type { IdentifyAccount } from "./providers/types.js";
import { type ConnectFields, notAnswering, toConnectError } from "./refusals.js";
import { openSync, type SyncRefusal } from "./syncing/openSync.js";
import { tellSchedule } from "./syncing/schedules.js";
import type { TokenVault } from "./vault.js";
import { type ConnectionView, viewOf } from "./views.js";

export interface ConnectionServiceDependencies {
  readonly pool: pg.Pool;
  readonly queue: ImportQueue;
  readonly log: Logger;
  readonly settings: ProviderSettings;
  readonly publicUrl: string;
  /** Records per batch of a sync. */
  readonly batchRows: number;
  readonly vault: TokenVault;
  readonly fetch: ProviderFetch;
  readonly oauth: ReadonlyMap<OAuthProvider, OAuthClient>;
  readonly identifiers: ReadonlyMap<ConnectionProvider, IdentifyAccount>;
}

/** What a provider sends back with the user; everything may be missing or made up. */
export interface Returned {
  readonly state?: string | undefined;
  readonly code?: string | undefined;
  readonly error?: string | undefined;
  readonly iss?: string | undefined;
}

/** As of an upload; what is absent is not asked for. */
export interface SyncWish {
  readonly dryRun?: boolean;
  readonly from?: Date;
  readonly until?: Date;
  readonly includeIncognito?: boolean;
}

/** Of all that is asked of a provider while a client waits. */
const LONGEST_ANSWER_MS = 5000;

const noSuchConnection = (): NotFoundError => new NotFoundError("There is no such connection");

export class ConnectionService {
  constructor(private readonly deps: ConnectionServiceDependencies) {}

  async list(
    userId: string,
  ): Promise<{ readonly data: readonly ConnectionView[]; readonly providers: readonly Availability[] }> {
    const rows = await connectionsOf(this.deps.pool, userId);
    const data = await Promise.all(rows.map((row) => viewOf(this.deps, row)));
    return { data, providers: availabilities(this.deps.settings) };
  }

  /**
   * For providers that a name or a token is enough for. `created` is false for an account that this user has connected
   * before: then it is opened again. Throws `ValidationError`, `ConflictError` (`provider_unavailable`, `account_taken`,
   * `too_many_connections`) and `UnavailableError` when the provider does not answer.
   */
  async connect(
    userId: string,
    claim: Claim,
  ): Promise<{ readonly connection: ConnectionView; readonly created: boolean }> {
    const { provider, username, token, tokenField } = checkClaim(claim);
    this.#assertAvailable(provider);
    const identify = this.#identifier(provider);
    return this.#asking({ token: tokenField, account: "username" }, async (signal) => {
      const identified = await identify({ username, token }, signal);
      if (token !== null && username !== null && !sameName(identified.account, username)) {
        throw problem(tokenField, "token_of_another", "The token is of another account");
      }
      const secrets = { access: token, refresh: null, expiresAt: null };
      return this.#save(userId, provider, identified, secrets);
    });
  }

  /** Where the user agrees. Throws `ConflictError("provider_unavailable")`, and `UnauthorizedError` when the session has ended. */
  async authorize(userId: string, sessionId: string, provider: OAuthProvider): Promise<string> {
    this.#assertAvailable(provider);
    return beginAuthorization(this.deps, this.#client(provider), {
      userId,
      sessionId,
      redirectUri: callbackUrl(this.deps.publicUrl, provider),
    });
  }

  /**
   * The user is back from the provider. Nobody is logged in here: whose connection it becomes was settled by whoever began
   * and got the state. Throws `ValidationError` (`bad_state`, `access_denied`, `authorization_failed`, `wrong_issuer`,
   * `token_refused`), `ConflictError` and `UnavailableError` as `connect` does; nothing is stored then.
   */
  async complete(
    provider: OAuthProvider,
    { state, code, error: refusal, iss }: Returned,
  ): Promise<{ readonly connection: ConnectionView; readonly username: string }> {
    this.#assertAvailable(provider);
    const client = this.#client(provider);
    const begun = state === undefined ? null : await redeemState(this.deps, provider, state);
    if (begun === null) throw problem("state", "bad_state", BAD_STATE);
    if (iss !== undefined && iss !== client.issuer) {
      throw problem("iss", "wrong_issuer", "This answer comes from somebody else than was asked");
    }
    if (refusal === "access_denied") throw problem("error", "access_denied", "The access was not granted");
    if (refusal !== undefined || code === undefined) {
      throw problem("error", "authorization_failed", "The provider could not grant the access; try again");
    }
    return this.#asking({ token: "code", account: "code" }, (signal) =>
      this.#finish(client, begun, code, signal),
    );
  }

  /** The row first: a queue that does not answer is told later. Throws `NotFoundError`. */
  async setSchedule(
    userId: string,
    id: string,
    { everyMinutes, paused }: { readonly everyMinutes: number; readonly paused: boolean },
  ): Promise<ConnectionView> {
    const { rowCount } = await this.deps.pool.query(
      `update connections set every_minutes = $3, paused = $4, version = version + 1, updated_at = now()
        where id = $1 and user_id = $2`,
      [id, userId, everyMinutes, paused],
    );
    if (rowCount === 0) throw noSuchConnection();
    return this.#told(userId, id);
  }

  /**
   * Opens a sync, paused or not; `opened` is false when one is under way, which is then given. Throws `NotFoundError` and
   * `ConflictError` (`needs_reauth`, `provider_unavailable`).
   */
  async sync(
    userId: string,
    id: string,
    { dryRun = false, from, until, includeIncognito = false }: SyncWish,
  ): Promise<{ readonly job: ImportJobView; readonly opened: boolean }> {
    const row = await findConnection(this.deps.pool, userId, id);
    if (row === undefined) throw noSuchConnection();
    this.#assertAvailable(row.provider);
    const outcome = await openSync(this.deps, id, {
      trigger: "user",
      requireUserId: userId,
      options: {
        dryRun,
        from: from?.toISOString() ?? null,
        until: until?.toISOString() ?? null,
        includeIncognito,
      },
    });
    if ("refused" in outcome) throw syncRefused(outcome.refused);
    const opened = "opened" in outcome;
    const [job] = await viewsOf(this.deps.pool, [opened ? outcome.opened : outcome.open]);
    if (job === undefined) throw noSuchConnection(); // erased a moment ago
    return { job, opened };
  }

  /** What its syncs brought stays, and so do the syncs. Throws `NotFoundError`. */
  async remove(userId: string, id: string): Promise<void> {
    if (!(await forgetConnection(this.deps, { userId, id }))) throw noSuchConnection();
  }

  /** What `work` asks of a provider, it does within the patience of a client. Throws what its errors mean to one. */
  async #asking<T>(field: ConnectFields, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = AbortSignal.timeout(Math.min(this.deps.settings.timeoutMs, LONGEST_ANSWER_MS));
    try {
      return await work(signal);
    } catch (error) {
      if (signal.aborted && error === signal.reason) throw notAnswering(error);
      throw toConnectError(error, field);
    }
  }

  async #finish(
    client: OAuthClient,
    { userId, username, verifier }: Redeemed,
    code: string,
    signal: AbortSignal,
  ) {
    const { provider } = client;
    const redirectUri = callbackUrl(this.deps.publicUrl, provider);
    const tokens = await exchangeCode(
      { fetch: this.deps.fetch, client, signal },
      { code, verifier, redirectUri },
    );
    const claim = { token: tokens.accessToken, username: null };
    const identified = await this.#identifier(provider)(claim, signal);
    const secrets = { access: tokens.accessToken, refresh: tokens.refreshToken, expiresAt: tokens.expiresAt };
    const { connection } = await this.#save(userId, provider, identified, secrets);
    return { connection, username };
  }

  async #save(
    userId: string,
    provider: ConnectionProvider,
    identified: { readonly account: string; readonly proven: boolean },
    secrets: Secrets,
  ): Promise<{ readonly connection: ConnectionView; readonly created: boolean }> {
    const { id, created } = await saveConnection(this.deps, { userId, provider, ...identified, secrets });
    this.deps.log.info("account connected", { connectionId: id, provider, created });
    return { connection: await this.#told(userId, id), created };
  }

  /** The connection as it is now, once the queue was told; one that could not be told is not asked either. */
  async #told(userId: string, id: string): Promise<ConnectionView> {
    const told = await tellSchedule(this.deps, id);
    const row = await findConnection(this.deps.pool, userId, id);
    if (row === undefined) throw noSuchConnection(); // deleted meanwhile
    const { settings, queue } = this.deps;
    return viewOf({ settings, queue: told ? queue : null }, row);
  }

  #assertAvailable(provider: ConnectionProvider): void {
    const { available, reason } = availabilityOf(this.deps.settings, provider);
    if (!available) throw new ConflictError("provider_unavailable", reason ?? "This provider is not set up");
  }

  #client(provider: OAuthProvider): OAuthClient {
    const client = this.deps.oauth.get(provider);
    if (client === undefined) throw new Error(`${provider} is set up and has no client`);
    return client;
  }

  #identifier(provider: ConnectionProvider): IdentifyAccount {
    const identify = this.deps.identifiers.get(provider);
    if (identify === undefined) throw new Error(`${provider} is set up and cannot tell accounts apart`);
    return identify;
  }
}

function syncRefused(reason: SyncRefusal): AppError {
  switch (reason) {
    case "missing":
      return noSuchConnection();
    case "account_off":
      return new UnauthorizedError();
    case "needs_reauth":
      return new ConflictError("needs_reauth", "The account has to be connected again first");
    case "unavailable":
    case "paused":
      return new ConflictError("wrong_state", "This connection cannot be synced at the moment");
  }
}

const BAD_STATE =
  "This authorization was not begun here, is used already or is more than ten minutes old; begin again";

const problem = (path: string, code: string, message: string): ValidationError =>
  new ValidationError(message, [{ path, code, message }], code);

const sameName = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();
