/** Rows that tests stand on, each with something random in every unique field. */
import { randomBytes } from "node:crypto";
import type { TestApp } from "./app.js";
import { expectStatus } from "./expectStatus.js";

export interface TestUser {
  readonly id: string;
  readonly email: string;
  readonly username: string;
  readonly password: string;
  readonly displayName: string | null;
  readonly role: "user" | "editor" | "admin";
  readonly accessToken: string;
  readonly refreshToken: string;
}

export interface UserOverrides {
  readonly email?: string;
  readonly username?: string;
  readonly password?: string;
  readonly displayName?: string | null;
}

export const randomName = (prefix: string): string => `${prefix}_${randomBytes(6).toString("hex")}`;

export function registration(overrides: UserOverrides = {}) {
  const username = overrides.username ?? randomName("user");
  return {
    email: `${username}@example.org`,
    password: `correct horse ${randomBytes(6).toString("hex")}`,
    ...overrides,
    username,
  };
}

/** Registers through the api. The very first account of an app is its admin. */
export async function buildUser(app: TestApp, overrides: UserOverrides = {}): Promise<TestUser> {
  const fields = registration(overrides);
  const { body } = expectStatus(201, await app.anonymous.post("/api/v1/auth/register", fields));
  return {
    id: body.user.id,
    email: body.user.email,
    username: body.user.username,
    password: fields.password,
    displayName: body.user.displayName,
    role: body.user.role,
    accessToken: body.accessToken,
    refreshToken: body.refreshToken,
  };
}
