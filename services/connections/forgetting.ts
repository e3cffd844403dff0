/** The end of a connection: by its user's wish, or with the whole account. */
import type pg from "pg";
import type { ConnectionProvider, OAuthProvider } from "../../db/models/enums.js";
import type { Logger } from "../../utils/logger.js";
import type { ImportQueue } from "../import/ImportQueue.js";
import type { ProviderFetch } from "./http/providerFetch.js";
import type { OAuthClient } from "./oauth/clients.js";
import { revoke } from "./oauth/tokens.js";
import type { TokenVault } from "./vault.js";

export interface ForgettingDependencies {
  readonly pool: pg.Pool;
  readonly queue: Pick<ImportQueue, "removeSchedule">;
  readonly log: Logger;
  readonly vault: TokenVault;
  readonly fetch: ProviderFetch;
  readonly oauth: ReadonlyMap<OAuthProvider, OAuthClient>;
}

/** Nobody waits longer for a provider that is told goodbye. */
const REVOKE_TIMEOUT_MS = 3000;

/**
 * Deletes the row with its tokens. The rest is tried and not insisted on: the schedule is removed, the provider is told that
 * the access is over. False when there is no such connection of this user.
 */
export async function forgetConnection(
  deps: ForgettingDependencies,
  { userId, id }: { readonly userId: string; readonly id: string },
): Promise<boolean> {
  const { rows } = await deps.pool.query<GoneRow>(
    `delete from connections where id = $1 and user_id = $2
     returning id, provider, access_token, refresh_token, token_key_id`,
    [id, userId],
  );
  const gone = rows[0];
  if (gone === undefined) return false;
  await Promise.all([removeSchedule(deps, id), tellProvider(deps, gone)]);
  deps.log.info("account disconnected", { connectionId: id, provider: gone.provider });
  return true;
}

/** The same for all connections of a user. `before` is called before each: what it throws ends the loop. */
export async function forgetConnections(
  deps: ForgettingDependencies,
  userId: string,
  before: () => void,
): Promise<void> {
  const { rows } = await deps.pool.query<{ id: string }>("select id from connections where user_id = $1", [
    userId,
  ]);
  for (const { id } of rows) {
    before();
    await forgetConnection(deps, { userId, id });
  }
}

interface GoneRow {
  readonly id: string;
  readonly provider: ConnectionProvider;
  readonly access_token: Buffer | null;
  readonly refresh_token: Buffer | null;
  readonly token_key_id: string | null;
}

/** One that stays finds no connection when it is due, and the reconciler removes it. */
async function removeSchedule({ queue, log }: ForgettingDependencies, connectionId: string): Promise<void> {
  try {
    await queue.removeSchedule(connectionId);
  } catch (error) {
    log.warn("the queue could not be told of a change", { connectionId, error });
  }
}

async function tellProvider(
  { vault, fetch, oauth, log }: ForgettingDependencies,
  { id, provider, access_token, refresh_token, token_key_id }: GoneRow,
): Promise<void> {
  const client = oauth.get(provider as OAuthProvider);
  const bytes = refresh_token ?? access_token;
  if (client === undefined || bytes === null || token_key_id === null) return;
  try {
    const column = refresh_token === null ? "access_token" : "refresh_token";
    const token = vault.open({ keyId: token_key_id, bytes }, { row: id, column });
    await revoke({ fetch, client, signal: AbortSignal.timeout(REVOKE_TIMEOUT_MS) }, token);
  } catch (error) {
    log.warn("a provider could not be told that an access is over", { connectionId: id, provider, error });
  }
}
