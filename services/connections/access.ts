/** The way of a sync to the secrets of a connection. Access tokens are renewed here, and nowhere else. */
import type pg from "pg";
import type { ConnectionProvider, ConnectionStatus, OAuthProvider } from "../../db/models/enums.js";
import { inTransaction } from "../../db/transaction.js";
import { ProviderError, ReauthNeededError } from "./errors.js";
import type { ProviderFetch } from "./http/providerFetch.js";
import type { OAuthClient } from "./oauth/clients.js";
import { GrantRefusedError, renew, type TokenSet } from "./oauth/tokens.js";
import type { SyncAccess } from "./providers/types.js";
import { noteRefusal } from "./reauth.js";
import type { TokenVault } from "./vault.js";

export interface AccessDependencies {
  readonly pool: pg.Pool;
  readonly vault: TokenVault;
  readonly fetch: ProviderFetch;
  readonly oauth: ReadonlyMap<OAuthProvider, OAuthClient>;
}

interface SecretRow {
  readonly id: string;
  readonly provider: ConnectionProvider;
  readonly account: string;
  readonly status: ConnectionStatus;
  readonly access_token: Buffer | null;
  readonly refresh_token: Buffer | null;
  readonly token_key_id: string | null;
  readonly token_expires_at: Date | null;
}

/** A token that ends sooner than this is renewed first: it has to last for a request. */
const EARLY_MS = 60_000;
/** Shorter than any limit on a transaction that waits: it holds the row meanwhile. */
const RENEW_TIMEOUT_MS = 8000;
const LOCK_TIMEOUT_MS = 15_000;

/** Throws ReauthNeededError when only the user can help, also because the connection is gone. */
export async function openAccess(deps: AccessDependencies, connectionId: string): Promise<SyncAccess> {
  const { account } = await read(deps.pool, connectionId);
  return {
    connectionId,
    account,
    token: async (refused) => {
      const row = await read(deps.pool, connectionId);
      const there = usable(deps, row, refused);
      return there === undefined ? renewed(deps, connectionId, refused) : there;
    },
  };
}

async function read(
  client: pg.Pool | pg.ClientBase,
  connectionId: string,
  lock: "" | "for no key update" = "",
): Promise<SecretRow> {
  const { rows } = await client.query<SecretRow>(
    `select id, provider, account, status, access_token, refresh_token, token_key_id, token_expires_at
       from connections where id = $1 ${lock}`,
    [connectionId],
  );
  const row = rows[0];
  if (row === undefined) throw new ReauthNeededError("The connection is gone");
  if (row.status === "needs_reauth") throw new ReauthNeededError("The account has to be connected again");
  return row;
}

/** Null: it works without. Undefined: the one there is is refused, or about to end. */
function usable(
  { vault }: AccessDependencies,
  row: SecretRow,
  refused: string | undefined,
): string | null | undefined {
  if (row.access_token === null || row.token_key_id === null) return refused === undefined ? null : undefined;
  const ends = row.token_expires_at?.getTime() ?? Infinity;
  if (ends < Date.now() + EARLY_MS) return undefined;
  const place = { row: row.id, column: "access_token" } as const;
  const token = vault.open({ keyId: row.token_key_id, bytes: row.access_token }, place);
  return token === refused ? undefined : token;
}

/**
 * Under the lock of the row, so that however many ask at once the provider is asked once: a refresh token that is used twice
 * may be worth nothing afterwards. The new tokens are committed before anybody gets to use them.
 */
async function renewed(
  deps: AccessDependencies,
  connectionId: string,
  refused: string | undefined,
): Promise<string | null> {
  const outcome = await inTransaction(
    deps.pool,
    async (client): Promise<{ token: string | null } | { refused: "again" | "for good" }> => {
      await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
      const row = await read(client, connectionId, "for no key update");
      const there = usable(deps, row, refused);
      if (there !== undefined) return { token: there };
      try {
        const tokens = await askForTokens(deps, row);
        await store(deps, client, row, tokens);
        return { token: tokens.accessToken };
      } catch (error) {
        if (!(error instanceof GrantRefusedError)) throw error;
        // Returned, not thrown: what was noted has to be committed.
        return { refused: (await noteRefusal(client, row.id)) ? "for good" : "again" };
      }
    },
    1,
  );
  if ("token" in outcome) return outcome.token;
  if (outcome.refused === "for good") {
    throw new ReauthNeededError(
      "The provider has taken the access back: the account has to be connected again",
    );
  }
  throw new ProviderError("The provider did not renew the access this time", false);
}

async function askForTokens({ vault, fetch, oauth }: AccessDependencies, row: SecretRow): Promise<TokenSet> {
  const { id, provider, refresh_token: bytes, token_key_id: keyId } = row;
  if (bytes === null || keyId === null) {
    throw new ReauthNeededError("The token is not taken any more: the account has to be connected again");
  }
  const client = oauth.get(provider as OAuthProvider);
  if (client === undefined) throw new ProviderError(`playlog is not set up for ${provider} any more`, false);
  const refreshToken = vault.open({ keyId, bytes }, { row: id, column: "refresh_token" });
  const signal = AbortSignal.timeout(RENEW_TIMEOUT_MS);
  try {
    const tokens = await renew({ fetch, client, signal }, refreshToken);
    return { ...tokens, refreshToken: tokens.refreshToken ?? refreshToken };
  } catch (error) {
    if (signal.aborted) throw new ProviderError(`${provider} did not answer in time`, true, { cause: error });
    throw error;
  }
}

async function store(
  { vault }: AccessDependencies,
  client: pg.ClientBase,
  { id }: SecretRow,
  { accessToken, refreshToken, expiresAt }: TokenSet,
): Promise<void> {
  const access = vault.seal(accessToken, { row: id, column: "access_token" });
  const refresh =
    refreshToken === null ? null : vault.seal(refreshToken, { row: id, column: "refresh_token" });
  await client.query(
    `update connections
        set access_token = $2, refresh_token = $3, token_key_id = $4, token_expires_at = $5,
            refusals = 0, refused_since = null, updated_at = now()
      where id = $1`,
    [id, access.bytes, refresh?.bytes ?? null, access.keyId, expiresAt],
  );
}
