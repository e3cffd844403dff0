/** Which providers this playlog can connect to, and why not to the others. */
import { CONNECTION_PROVIDERS, type ConnectionProvider } from "../../db/models/enums.js";
import type { ProviderSettings } from "../../utils/providerSettings.js";

export interface Availability {
  readonly provider: ConnectionProvider;
  readonly available: boolean;
  /** For users, who cannot change it, and for those who run the server; null when it is available. */
  readonly reason: string | null;
}

/** What to set up. */
const MISSING: Readonly<Record<ConnectionProvider, string>> = {
  spotify: "SPOTIFY_CLIENT_ID",
  apple: "APPLE_DEVELOPER_TOKEN, or APPLE_TEAM_ID, APPLE_KEY_ID and APPLE_PRIVATE_KEY",
  youtube: "GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET",
  listenbrainz: "LISTENBRAINZ_URL",
  lastfm: "LASTFM_API_KEY",
};

export const availabilityOf = (settings: ProviderSettings, provider: ConnectionProvider): Availability =>
  settings[provider] === undefined
    ? {
        provider,
        available: false,
        reason: `Whoever runs this playlog has not set it up for ${provider}: it needs ${MISSING[provider]}`,
      }
    : { provider, available: true, reason: null };

export const availabilities = (settings: ProviderSettings): readonly Availability[] =>
  CONNECTION_PROVIDERS.map((provider) => availabilityOf(settings, provider));
