/** What a process needs to open users' accounts at providers: made once at its start. */
import type { OAuthProvider } from "../../db/models/enums.js";
import type { ProviderSettings, TokenKey } from "../../utils/providerSettings.js";
import type { ProviderFetch } from "./http/providerFetch.js";
import { oauthClientsOf, type OAuthClient } from "./oauth/clients.js";
import { providerFetchOf } from "./providers/index.js";
import { loadTokenKeys } from "./tokenKeys.js";
import { TokenVault } from "./vault.js";

export interface ConnectionSecrets {
  readonly keys: readonly TokenKey[];
  readonly vault: TokenVault;
  readonly fetch: ProviderFetch;
  readonly oauth: ReadonlyMap<OAuthProvider, OAuthClient>;
}

/** The fields of the configuration that count here. */
interface SecretSettings {
  readonly home: string;
  readonly tokenKeys: readonly TokenKey[];
  readonly providers: ProviderSettings;
}

export async function loadConnectionSecrets({
  home,
  tokenKeys,
  providers,
}: SecretSettings): Promise<ConnectionSecrets> {
  const keys = await loadTokenKeys(home, tokenKeys);
  return {
    keys,
    vault: new TokenVault(keys),
    fetch: providerFetchOf(providers),
    oauth: oauthClientsOf(providers),
  };
}
