/** How the accounts of playlog at the providers, and the keys of its users' tokens, are written in settings. */
import { createPrivateKey } from "node:crypto";
import Joi from "joi";
import { MIB, whole } from "./settings.js";

/** A provider that is undefined has not been set up: nobody can connect to it. URLs have no slash at their end. */
export interface ProviderSettings {
  /** Of one request to a provider, the answer included. */
  readonly timeoutMs: number;
  readonly responseMaxBytes: number;
  /** Pages that one sync asks for at most. */
  readonly pagesMax: number;
  /** Of the addresses that were set, as `URL.origin` writes them; none while all are the providers' own. */
  readonly ownOrigins: readonly string[];
  /** Without a secret it is a public client: PKCE alone proves that the code is its own. */
  readonly spotify:
    | {
        readonly clientId: string;
        readonly clientSecret?: string;
        readonly apiUrl: string;
        readonly accountsUrl: string;
      }
    | undefined;
  readonly youtube:
    | {
        readonly clientId: string;
        readonly clientSecret: string;
        readonly apiUrl: string;
        readonly accountsUrl: string;
        readonly tokenUrl: string;
        /** From asking for an archive to the first question about it; later ones are further apart. */
        readonly firstPollMs: number;
      }
    | undefined;
  readonly listenbrainz: { readonly url: string };
  readonly lastfm: { readonly apiKey: string; readonly url: string } | undefined;
  readonly apple: AppleSettings | undefined;
}

/** A finished developer token, or what one is made from; the key is PEM. */
export type AppleSettings =
  | { readonly url: string; readonly developerToken: string }
  | { readonly url: string; readonly teamId: string; readonly keyId: string; readonly privateKey: string };

/** A key of 32 bytes; the id stands beside everything that is encrypted with it. */
export interface TokenKey {
  readonly id: string;
  readonly key: Buffer;
}

const KEY_BYTES = 32;
const KEY_FORM = "id:base64 of 32 bytes, with commas between keys and no id twice";
const PRIVATE_KEY_FORM = "a PEM private key on the curve P-256, its line breaks written as \\n";

/** By setting, the providers' own. */
const BASE_URLS = {
  SPOTIFY_API_URL: "https://api.spotify.com",
  SPOTIFY_ACCOUNTS_URL: "https://accounts.spotify.com",
  LISTENBRAINZ_URL: "https://api.listenbrainz.org",
  LASTFM_URL: "https://ws.audioscrobbler.com",
  APPLE_MUSIC_URL: "https://api.music.apple.com",
  GOOGLE_API_URL: "https://dataportability.googleapis.com",
  GOOGLE_ACCOUNTS_URL: "https://accounts.google.com",
  GOOGLE_TOKEN_URL: "https://oauth2.googleapis.com",
} as const;

const baseUrl = (url: string) =>
  Joi.string()
    .uri({ scheme: ["http", "https"] })
    .default(url);
/** Goes into headers and forms. */
const word = () =>
  Joi.string()
    .max(4096)
    .pattern(/^[\x21-\x7e]+$/, "printable ASCII without spaces");

/** As in TOKEN_KEYS; null for text that is no list of keys. */
export function parseTokenKeys(text: string): TokenKey[] | null {
  const keys = text.split(",").map((entry) => {
    const [id = "", encoded = "", ...more] = entry.trim().split(":");
    return { id, encoded, key: Buffer.from(encoded, "base64"), more };
  });
  const valid = keys.every(
    ({ id, encoded, key, more }) =>
      /^[\w.-]{1,32}$/.test(id) &&
      /^[A-Za-z0-9+/]{43}=?$/.test(encoded) &&
      key.length === KEY_BYTES &&
      more.length === 0,
  );
  if (!valid || new Set(keys.map(({ id }) => id)).size < keys.length) return null;
  return keys.map(({ id, key }) => ({ id, key }));
}

const pemOf = (text: string): string => text.replaceAll("\\n", "\n");

function isApplesKey(text: string): boolean {
  try {
    const key = createPrivateKey(pemOf(text));
    return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
  } catch {
    return false;
  }
}

const formed = (form: string, fits: (text: string) => boolean) =>
  Joi.string().custom((text: string, helpers) =>
    fits(text) ? text : helpers.error("string.pattern.name", { name: form }),
  );

export const providerSchemas: Readonly<Record<string, Joi.Schema>> = {
  TOKEN_KEYS: formed(KEY_FORM, (text) => parseTokenKeys(text) !== null),
  SPOTIFY_CLIENT_ID: word(),
  SPOTIFY_CLIENT_SECRET: word(),
  GOOGLE_CLIENT_ID: word(),
  GOOGLE_CLIENT_SECRET: word(),
  LASTFM_API_KEY: word(),
  APPLE_DEVELOPER_TOKEN: word(),
  APPLE_TEAM_ID: word(),
  APPLE_KEY_ID: word(),
  APPLE_PRIVATE_KEY: formed(PRIVATE_KEY_FORM, isApplesKey),
  ...Object.fromEntries(Object.entries(BASE_URLS).map(([setting, url]) => [setting, baseUrl(url)])),
  GOOGLE_FIRST_POLL_MS: whole(100, 60 * 60_000).default(5 * 60_000),
  PROVIDER_TIMEOUT_MS: whole(100, 600_000).default(10_000),
  PROVIDER_RESPONSE_MAX_BYTES: whole(1024, 1024 * MIB).default(16 * MIB),
  SYNC_PAGES_MAX: whole(1, 100_000).default(200),
};

/** Settings that are of use together only. */
export const togetherOnly = (settings: Joi.ObjectSchema): Joi.ObjectSchema =>
  settings
    .with("SPOTIFY_CLIENT_SECRET", "SPOTIFY_CLIENT_ID")
    .and("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET")
    .and("APPLE_TEAM_ID", "APPLE_KEY_ID", "APPLE_PRIVATE_KEY")
    .without("APPLE_DEVELOPER_TOKEN", "APPLE_TEAM_ID");

type Given = (setting: string) => string | undefined;

/** @param given gives the value of a valid setting, with its default; undefined where it has neither */
export function providersOf(given: Given): ProviderSettings {
  const text = (setting: string): string => given(setting) ?? "";
  const url = (setting: string): string => text(setting).replace(/\/+$/, "");
  return {
    timeoutMs: Number(given("PROVIDER_TIMEOUT_MS")),
    responseMaxBytes: Number(given("PROVIDER_RESPONSE_MAX_BYTES")),
    pagesMax: Number(given("SYNC_PAGES_MAX")),
    ownOrigins: [
      ...new Set(Object.entries(BASE_URLS).flatMap(([setting, usual]) => ownOrigin(text(setting), usual))),
    ],
    spotify:
      given("SPOTIFY_CLIENT_ID") === undefined
        ? undefined
        : {
            clientId: text("SPOTIFY_CLIENT_ID"),
            ...(given("SPOTIFY_CLIENT_SECRET") === undefined
              ? {}
              : { clientSecret: text("SPOTIFY_CLIENT_SECRET") }),
            apiUrl: url("SPOTIFY_API_URL"),
            accountsUrl: url("SPOTIFY_ACCOUNTS_URL"),
          },
    youtube:
      given("GOOGLE_CLIENT_ID") === undefined
        ? undefined
        : {
            clientId: text("GOOGLE_CLIENT_ID"),
            clientSecret: text("GOOGLE_CLIENT_SECRET"),
            apiUrl: url("GOOGLE_API_URL"),
            accountsUrl: url("GOOGLE_ACCOUNTS_URL"),
            tokenUrl: url("GOOGLE_TOKEN_URL"),
            firstPollMs: Number(given("GOOGLE_FIRST_POLL_MS")),
          },
    listenbrainz: { url: url("LISTENBRAINZ_URL") },
    lastfm:
      given("LASTFM_API_KEY") === undefined
        ? undefined
        : { apiKey: text("LASTFM_API_KEY"), url: url("LASTFM_URL") },
    apple: appleOf(given, url("APPLE_MUSIC_URL")),
  };
}

function ownOrigin(url: string, usual: string): string[] {
  const { origin } = new URL(url);
  return origin === usual ? [] : [origin];
}

function appleOf(given: Given, url: string): AppleSettings | undefined {
  const developerToken = given("APPLE_DEVELOPER_TOKEN");
  if (developerToken !== undefined) return { url, developerToken };
  const [teamId, keyId, privateKey] = ["APPLE_TEAM_ID", "APPLE_KEY_ID", "APPLE_PRIVATE_KEY"].map(given);
  if (teamId === undefined || keyId === undefined || privateKey === undefined) return undefined;
  return { url, teamId, keyId, privateKey: pemOf(privateKey) };
}

/** The keys of a valid `TOKEN_KEYS`, of which the first encrypts; none without one. */
export const tokenKeysOf = (given: Given): readonly TokenKey[] =>
  parseTokenKeys(given("TOKEN_KEYS") ?? "") ?? [];
