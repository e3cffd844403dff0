/** Every provider that the settings know, and what they share: one way out, and one budget for each limit. */
import type { ConnectionProvider } from "../../../db/models/enums.js";
import type { ProviderSettings } from "../../../utils/providerSettings.js";
import type { Share } from "../budget.js";
import { createProviderDownload, createProviderFetch, type ProviderFetch } from "../http/providerFetch.js";
import { type AppleAccess, appleProvider, identifyApple } from "./apple.js";
import { developerTokens } from "./appleToken.js";
import { type Call, type CallDeps, callsWithin } from "./calls.js";
import { identifyLastfm, lastfmProvider } from "./lastfm.js";
import { identifyListenbrainz, listenbrainzProvider } from "./listenbrainz.js";
import { identifySpotify, spotifyProvider } from "./spotify.js";
import type { ArchiveProvider, IdentifyAccount, SyncProvider } from "./types.js";
import { youtubeProvider } from "./youtube.js";

/** Well below what the providers are known to bear; Spotify and Apple do not say what that is. */
const RATES = {
  spotify: { perSecond: 2, burst: 10 },
  apple: { perSecond: 4, burst: 10 },
  listenbrainz: { perSecond: 2, burst: 10 },
  lastfm: { perSecond: 4, burst: 4 },
  youtube: { perSecond: 1, burst: 5 },
} as const;

const boundsOf = (settings: ProviderSettings) => ({
  timeoutMs: settings.timeoutMs,
  maxBytes: settings.responseMaxBytes,
  allowedOrigins: settings.ownOrigins,
});

export const providerFetchOf = (settings: ProviderSettings): ProviderFetch =>
  createProviderFetch(boundsOf(settings));

/** Those that have been set up. */
export function providersOf(
  settings: ProviderSettings,
  deps: CallDeps,
): ReadonlyMap<ConnectionProvider, SyncProvider | ArchiveProvider> {
  const { spotify, listenbrainz, lastfm, apple, youtube } = settings;
  const providers: (SyncProvider | ArchiveProvider)[] = [
    listenbrainzProvider(listenbrainz.url, callsTo("listenbrainz", listenbrainz.url, deps)),
  ];
  if (spotify !== undefined) {
    providers.push(spotifyProvider(spotify.apiUrl, callsTo("spotify", spotify.clientId, deps)));
  }
  if (lastfm !== undefined) providers.push(lastfmProvider(lastfm, callsTo("lastfm", lastfm.apiKey, deps)));
  if (apple !== undefined) {
    const access = appleAccess(apple);
    providers.push(appleProvider(access, callsTo("apple", identityOf(apple), deps)));
  }
  if (youtube !== undefined) {
    const { apiUrl, firstPollMs } = youtube;
    const google = { apiUrl, firstPollMs, download: createProviderDownload(boundsOf(settings)) };
    providers.push(youtubeProvider(google, callsTo("youtube", youtube.clientId, deps)));
  }
  return new Map(providers.map((provider) => [provider.provider, provider]));
}

/** How each provider that has been set up tells whose account it is. */
export function identifiersOf(
  settings: ProviderSettings,
  deps: CallDeps,
): ReadonlyMap<ConnectionProvider, IdentifyAccount> {
  const { spotify, listenbrainz, lastfm, apple, youtube } = settings;
  const identifiers = new Map<ConnectionProvider, IdentifyAccount>();
  const { url } = listenbrainz;
  identifiers.set("listenbrainz", identifyListenbrainz(url, callsTo("listenbrainz", url, deps)));
  if (spotify !== undefined) {
    identifiers.set("spotify", identifySpotify(spotify.apiUrl, callsTo("spotify", spotify.clientId, deps)));
  }
  if (lastfm !== undefined) {
    identifiers.set("lastfm", identifyLastfm(lastfm, callsTo("lastfm", lastfm.apiKey, deps)));
  }
  if (apple !== undefined) {
    identifiers.set("apple", identifyApple(appleAccess(apple), callsTo("apple", identityOf(apple), deps)));
  }
  if (youtube !== undefined) identifiers.set("youtube", () => Promise.resolve(YOUTUBE_ACCOUNT));
  return identifiers;
}

/** The permission to export an archive may not be mixed with one to see who somebody is. */
const YOUTUBE_ACCOUNT = { account: "youtube", proven: false };

type Apple = NonNullable<ProviderSettings["apple"]>;

const appleAccess = (apple: Apple): AppleAccess => ({
  url: apple.url,
  developerToken: developerTokens(apple),
});

const identityOf = (apple: Apple): string =>
  "developerToken" in apple ? apple.developerToken : `${apple.teamId}/${apple.keyId}`;

/** @param client what the provider counts by: a client id or key, or its own address where it counts by ours */
function callsTo(provider: keyof typeof RATES, client: string, deps: CallDeps): Call {
  const share: Share = { name: `${provider} ${client}`, ...RATES[provider] };
  return callsWithin(share, deps);
}
