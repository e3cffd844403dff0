/**
 * Refresh tokens: `<session>.<counter>.<mac>`. No token is stored: whoever has the key of the session and the signing
 * secret can make any of its tokens again, which is how a lost answer is given a second time. It takes both, so that
 * a stolen copy of the database opens no session.
 */
import { createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import type { SigningKeys } from "./signingKeys.js";

export interface RefreshToken {
  readonly sessionId: string;
  /** Grows by one with each rotation. */
  readonly counter: number;
  readonly mac: Buffer;
}

/** What the table knows of a session whose token is to be made or checked. */
export interface RefreshFamily {
  readonly id: string;
  readonly refreshKey: Buffer;
}

const TOKEN =
  /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.(0|[1-9]\d{0,8})\.([\w-]{43})$/;

const macOf = (secret: KeyObject, { id, refreshKey }: RefreshFamily, counter: number): Buffer =>
  createHmac("sha256", secret)
    .update(`playlog refresh v2|${refreshKey.toString("hex")}|${id}|${counter}`)
    .digest();

export const refreshToken = (keys: SigningKeys, family: RefreshFamily, counter: number): string =>
  `${family.id}.${counter}.${macOf(keys.current, family, counter).toString("base64url")}`;

/** Null for what no version of playlog ever wrote. Says nothing about validity. */
export function parseRefreshToken(text: string): RefreshToken | null {
  const [, sessionId, counter, mac] = TOKEN.exec(text) ?? [];
  if (sessionId === undefined || counter === undefined || mac === undefined) return null;
  return { sessionId, counter: Number(counter), mac: Buffer.from(mac, "base64url") };
}

/** Also true for a token that was made with an earlier secret which is still accepted. */
export const isGenuine = (
  { counter, mac }: RefreshToken,
  keys: SigningKeys,
  family: RefreshFamily,
): boolean => keys.accepted.some((secret) => timingSafeEqual(mac, macOf(secret, family, counter)));
