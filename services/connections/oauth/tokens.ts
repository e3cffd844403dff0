/** The token endpoints of providers: a code, or a refresh token, for an access token. */
import Joi from "joi";
import { ProviderError } from "../errors.js";
import type { ProviderFetch, ProviderResponse } from "../http/providerFetch.js";
import type { OAuthClient } from "./clients.js";

export interface TokenSet {
  readonly accessToken: string;
  /** Null when none came: then the one there is stays. */
  readonly refreshToken: string | null;
  /** Null when the provider does not say. */
  readonly expiresAt: Date | null;
}

/** The provider takes neither this code nor this refresh token: used, run out, taken back, another client's. */
export class GrantRefusedError extends Error {
  constructor(provider: string) {
    super(`${provider} does not take what it was shown`);
    this.name = "GrantRefusedError";
  }
}

interface TokenAnswer {
  readonly access_token: string;
  readonly refresh_token?: string;
  readonly expires_in?: number;
  readonly scope?: string;
}

/** Goes into a header later. */
const token = Joi.string()
  .max(8192)
  .pattern(/^[\x21-\x7e]+$/);
const YEAR_SECONDS = 366 * 24 * 3600;
const tokenAnswer = Joi.object<TokenAnswer>({
  access_token: token.required(),
  refresh_token: token,
  expires_in: Joi.number().min(0).max(YEAR_SECONDS),
  scope: Joi.string().allow(""),
}).unknown(true);

interface Call {
  readonly fetch: ProviderFetch;
  readonly client: OAuthClient;
  readonly signal?: AbortSignal;
}

/**
 * Throws GrantRefusedError, RateLimitedError or ProviderError; also when the user has agreed to less than was asked for.
 */
export async function exchangeCode(
  call: Call,
  {
    code,
    verifier,
    redirectUri,
  }: { readonly code: string; readonly verifier: string; readonly redirectUri: string },
): Promise<TokenSet> {
  const answer = await ask(call, {
    grant_type: "authorization_code",
    code,
    redirect_uri: redirectUri,
    code_verifier: verifier,
  });
  const { scope } = call.client;
  if (answer.scope !== undefined && !answer.scope.split(" ").includes(scope)) {
    throw new GrantRefusedError(call.client.provider);
  }
  return tokenSet(answer);
}

/** Throws as `exchangeCode` does. */
export async function renew(call: Call, refreshToken: string): Promise<TokenSet> {
  return tokenSet(await ask(call, { grant_type: "refresh_token", refresh_token: refreshToken }));
}

/** Nothing happens where the provider has no such endpoint. Throws RateLimitedError or ProviderError. */
export async function revoke({ fetch, client, signal }: Call, refreshToken: string): Promise<void> {
  if (client.revokeUrl === null) return;
  await fetch({
    method: "POST",
    url: client.revokeUrl,
    body: new URLSearchParams({ token: refreshToken }),
    ...(signal === undefined ? {} : { signal }),
  });
}

function tokenSet({ access_token, refresh_token, expires_in }: TokenAnswer): TokenSet {
  return {
    accessToken: access_token,
    refreshToken: refresh_token ?? null,
    expiresAt: expires_in === undefined ? null : new Date(Date.now() + expires_in * 1000),
  };
}

async function ask(
  { fetch, client, signal }: Call,
  form: Readonly<Record<string, string>>,
): Promise<TokenAnswer> {
  const { clientId, clientSecret, secretIn, tokenUrl } = client;
  const inHeader = clientSecret !== null && secretIn === "header";
  const credentials = {
    ...(inHeader ? {} : { client_id: clientId }),
    ...(clientSecret !== null && !inHeader ? { client_secret: clientSecret } : {}),
  };
  const basic = `Basic ${Buffer.from(`${clientId}:${clientSecret ?? ""}`).toString("base64")}`;
  const answer = await fetch({
    method: "POST",
    url: tokenUrl,
    headers: inHeader ? { authorization: basic } : {},
    body: new URLSearchParams({ ...form, ...credentials }),
    ...(signal === undefined ? {} : { signal }),
  });
  return read(client.provider, answer);
}

function read(provider: string, answer: ProviderResponse): TokenAnswer {
  const { status } = answer;
  if (status === 200) {
    const result = tokenAnswer.validate(answer.json(), { convert: false });
    if (result.error === undefined) return result.value;
    throw new ProviderError(`${provider} answered with something that is no token`, true);
  }
  if (status >= 500) throw new ProviderError(`${provider} answered with ${status}`, true);
  const code = errorOf(answer);
  if (code === "invalid_grant") throw new GrantRefusedError(provider);
  const known = CLIENT_ERRORS.find((one) => one === code) ?? `status ${status}`;
  throw new ProviderError(`${provider} does not take the client that is set up: ${known}`, false);
}

const CLIENT_ERRORS = ["invalid_client", "unauthorized_client", "invalid_request", "invalid_scope"] as const;

/** Null for a body that is no error of OAuth. */
function errorOf(answer: ProviderResponse): string | null {
  try {
    const body = answer.json();
    return typeof body === "object" && body !== null && "error" in body && typeof body.error === "string"
      ? body.error
      : null;
  } catch {
    return null;
  }
}
