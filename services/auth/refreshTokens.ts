/**
 * Refresh tokens: `<session>.<counter>.<mac>`, keyed by a secret of the session. No token is stored: whoever has
 * the session's key can make any of its tokens again, which is how a lost answer is given a second time.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export interface RefreshToken {
  readonly sessionId: string;
  /** Grows by one with each rotation. */
  readonly counter: number;
  readonly mac: Buffer;
}

const TOKEN =
  /^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.(0|[1-9]\d{0,8})\.([\w-]{43})$/;

const macOf = (key: Buffer, sessionId: string, counter: number): Buffer =>
  createHmac("sha256", key).update(`playlog refresh v1|${sessionId}|${counter}`).digest();

export const refreshToken = (key: Buffer, sessionId: string, counter: number): string =>
  `${sessionId}.${counter}.${macOf(key, sessionId, counter).toString("base64url")}`;

/** Null for what no version of playlog ever wrote. Says nothing about validity. */
export function parseRefreshToken(text: string): RefreshToken | null {
  const [, sessionId, counter, mac] = TOKEN.exec(text) ?? [];
  if (sessionId === undefined || counter === undefined || mac === undefined) return null;
  return { sessionId, counter: Number(counter), mac: Buffer.from(mac, "base64url") };
}

export const isGenuine = ({ sessionId, counter, mac }: RefreshToken, key: Buffer): boolean =>
  timingSafeEqual(mac, macOf(key, sessionId, counter));
