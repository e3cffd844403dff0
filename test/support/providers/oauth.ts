/** An authorization server: code and PKCE, refresh, revocation. Spotify's and Google's differ in their paths. */
import { createHash, randomUUID } from "node:crypto";
import type { Exchange } from "./exchange.js";
import { json, redirect } from "./exchange.js";

interface Grant {
  readonly account: string;
  readonly redirectUri: string;
  readonly challenge: string | null;
}

export interface Paths {
  readonly authorize: string;
  readonly token: string;
  readonly revoke?: string;
}

export class OAuthStandIn {
  /** Who says yes when somebody is sent here; null: they say no. */
  account: string | null = "ada";
  expiresInSeconds = 3600;
  /** Whether a refresh gives a new refresh token and ends the old one, as it is with PKCE. */
  rotates = true;
  /** By access token, by refresh token. */
  readonly access = new Map<string, string>();
  readonly refresh = new Map<string, string>();
  readonly revoked: string[] = [];
  readonly #codes = new Map<string, Grant>();

  constructor(readonly paths: Paths) {}

  /** A pair of tokens as if the account had been connected. */
  issue(account = this.account ?? "ada"): { readonly accessToken: string; readonly refreshToken: string } {
    const accessToken = `access-${randomUUID()}`;
    const refreshToken = `refresh-${randomUUID()}`;
    this.access.set(accessToken, account);
    this.refresh.set(refreshToken, account);
    return { accessToken, refreshToken };
  }

  readonly handle = (exchange: Exchange): boolean => {
    const { pathname } = exchange.url;
    if (pathname === this.paths.authorize) this.#authorize(exchange);
    else if (pathname === this.paths.token && exchange.method === "POST") this.#token(exchange);
    else if (pathname === this.paths.revoke) this.#revoke(exchange);
    else return false;
    return true;
  };

  #authorize({ url, response }: Exchange): void {
    const asked = url.searchParams;
    const target = new URL(asked.get("redirect_uri") ?? "");
    target.searchParams.set("state", asked.get("state") ?? "");
    if (this.account === null) target.searchParams.set("error", "access_denied");
    else {
      const code = `code-${randomUUID()}`;
      const challenge = asked.get("code_challenge");
      this.#codes.set(code, {
        account: this.account,
        redirectUri: asked.get("redirect_uri") ?? "",
        challenge,
      });
      target.searchParams.set("code", code);
    }
    redirect(target.href)(response);
  }

  #token({ body, response }: Exchange): void {
    const form = new URLSearchParams(body);
    const account =
      form.get("grant_type") === "refresh_token" ? this.#refreshing(form) : this.#redeeming(form);
    if (account === null)
      return json(400, { error: "invalid_grant", error_description: "revoked" })(response);
    const { accessToken, refreshToken } = this.issue(account);
    const isRefresh = form.get("grant_type") === "refresh_token";
    if (isRefresh && !this.rotates) this.refresh.delete(refreshToken);
    json(200, {
      access_token: accessToken,
      token_type: "Bearer",
      expires_in: this.expiresInSeconds,
      ...(isRefresh && !this.rotates ? {} : { refresh_token: refreshToken }),
    })(response);
  }

  #refreshing(form: URLSearchParams): string | null {
    const token = form.get("refresh_token") ?? "";
    const account = this.refresh.get(token) ?? null;
    if (this.rotates) this.refresh.delete(token);
    return account;
  }

  #redeeming(form: URLSearchParams): string | null {
    const code = form.get("code") ?? "";
    const grant = this.#codes.get(code);
    this.#codes.delete(code);
    if (grant === undefined || grant.redirectUri !== form.get("redirect_uri")) return null;
    const verifier = form.get("code_verifier") ?? "";
    const digest = createHash("sha256").update(verifier).digest("base64url");
    return grant.challenge === null || grant.challenge === digest ? grant.account : null;
  }

  #revoke({ body, url, response }: Exchange): void {
    const token = new URLSearchParams(body).get("token") ?? url.searchParams.get("token") ?? "";
    this.revoked.push(token);
    this.access.delete(token);
    this.refresh.delete(token);
    json(200, {})(response);
  }
}
