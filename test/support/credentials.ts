/** What tests of accounts do with sessions and personal API tokens. */
import type { TestApp } from "./app.js";
import { expectStatus } from "./expectStatus.js";
import type { TestUser } from "./factories.js";

export type Tokens = Pick<TestUser, "accessToken" | "refreshToken">;
export type Scope = "read" | "write" | "import" | "admin";

export const sessionOf = ({ refreshToken }: Pick<Tokens, "refreshToken">): string =>
  refreshToken.split(".")[0] ?? "";

/** 200 while the credential works. */
export const statusOf = async (app: TestApp, tokens: Pick<Tokens, "accessToken">): Promise<number> =>
  (await app.as(tokens).get("/api/v1/users/me")).status;

export const logIn = async (
  app: TestApp,
  { email, password }: Pick<TestUser, "email" | "password">,
  userAgent = "mocha",
): Promise<Tokens> => {
  const options = { headers: { "user-agent": userAgent } };
  const answer = await app.anonymous.post("/api/v1/auth/login", { login: email, password }, options);
  return expectStatus(200, answer).body as Tokens;
};

export const refresh = (app: TestApp, { refreshToken }: Pick<Tokens, "refreshToken">) =>
  app.anonymous.post("/api/v1/auth/refresh", { refreshToken });

export interface MadeToken {
  readonly id: string;
  /** As `app.as` takes it. */
  readonly accessToken: string;
}

export async function makeToken(
  app: TestApp,
  user: Pick<TestUser, "accessToken">,
  scopes: readonly Scope[] = ["read"],
  more: object = {},
): Promise<MadeToken> {
  const answer = await app.as(user).post("/api/v1/auth/tokens", { name: "script", scopes, ...more });
  const { id, token } = expectStatus(201, answer).body as { id: string; token: string };
  return { id, accessToken: token };
}
