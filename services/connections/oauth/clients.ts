/** What playlog is at the providers whose users agree there: OAuth 2.0, authorization code with PKCE. */
import type { OAuthProvider } from "../../../db/models/enums.js";
import type { ProviderSettings } from "../../../utils/providerSettings.js";

export interface OAuthClient {
  readonly provider: OAuthProvider;
  readonly clientId: string;
  /** Null: a public client. */
  readonly clientSecret: string | null;
  /** How the secret is sent: Spotify wants a header, Google the form. */
  readonly secretIn: "header" | "form";
  readonly authorizeUrl: string;
  readonly tokenUrl: string;
  /** Null where access can be taken back by its user only. */
  readonly revokeUrl: string | null;
  /** Who the answer must come from when it says so (RFC 9207). */
  readonly issuer: string;
  readonly scope: string;
  /** Of the authorization request, beside the usual ones. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** Those that are set up. */
export function oauthClientsOf({
  spotify,
  youtube,
}: ProviderSettings): ReadonlyMap<OAuthProvider, OAuthClient> {
  const clients: OAuthClient[] = [];
  if (spotify !== undefined) {
    clients.push({
      provider: "spotify",
      clientId: spotify.clientId,
      clientSecret: spotify.clientSecret ?? null,
      secretIn: "header",
      authorizeUrl: `${spotify.accountsUrl}/authorize`,
      tokenUrl: `${spotify.accountsUrl}/api/token`,
      revokeUrl: null,
      issuer: spotify.accountsUrl,
      scope: "user-read-recently-played",
      parameters: {},
    });
  }
  if (youtube !== undefined) {
    clients.push({
      provider: "youtube",
      clientId: youtube.clientId,
      clientSecret: youtube.clientSecret,
      secretIn: "form",
      authorizeUrl: `${youtube.accountsUrl}/o/oauth2/v2/auth`,
      tokenUrl: `${youtube.tokenUrl}/token`,
      revokeUrl: `${youtube.tokenUrl}/revoke`,
      issuer: youtube.accountsUrl,
      // Scopes of the Data Portability API stand alone: one that tells whose account it is may not be asked for beside them.
      scope: "https://www.googleapis.com/auth/dataportability.myactivity.youtube",
      // A refresh token comes with consent only, so it is asked for each time.
      parameters: { access_type: "offline", prompt: "consent" },
    });
  }
  return new Map(clients.map((client) => [client.provider, client]));
}

/**
 * Where the provider sends the user back to; the very text that was entered there. A loopback address stands in for
 * `localhost`, which Spotify does not take.
 */
export function callbackUrl(publicUrl: string, provider: OAuthProvider): string {
  const url = new URL(publicUrl);
  if (url.hostname === "localhost") url.hostname = "127.0.0.1";
  return `${url.href.replace(/\/+$/, "")}/api/v1/connections/${provider}/callback`;
}
