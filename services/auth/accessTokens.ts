/** Access tokens: short-lived JWTs that name a user and a session. Whether the session lives is asked elsewhere. */
import jwt from "jsonwebtoken";
import { UUID_PATTERN } from "../../utils/uuid.js";
import type { SigningKeys } from "./signingKeys.js";

/** Pinned on both sides: what signs, and what a verifier may accept. */
export const ACCESS_TOKEN = {
  algorithm: "HS256",
  /** RFC 9068; keeps other JWTs signed with the same key from passing as access tokens. */
  type: "at+jwt",
  issuer: "playlog",
  audience: "playlog-api",
  lifetimeSeconds: 600,
  /** How far the clocks of two machines may be apart. */
  clockToleranceSeconds: 30,
} as const;

export interface AccessClaims {
  readonly userId: string;
  readonly sessionId: string;
}

export function signAccessToken(keys: SigningKeys, { userId, sessionId }: AccessClaims): string {
  return jwt.sign({ sid: sessionId }, keys.current, {
    algorithm: ACCESS_TOKEN.algorithm,
    header: { alg: ACCESS_TOKEN.algorithm, typ: ACCESS_TOKEN.type },
    issuer: ACCESS_TOKEN.issuer,
    audience: ACCESS_TOKEN.audience,
    subject: userId,
    expiresIn: ACCESS_TOKEN.lifetimeSeconds,
  });
}

/**
 * What a JWT library leaves open, of a token whose signature, issuer, audience and dates it has checked: type,
 * required claims and their form, an issue date in the future, a longer life than we give. Null: refuse.
 */
export function readClaims(token: unknown, nowSeconds: number): AccessClaims | null {
  if (!isRecord(token) || !isRecord(token["header"]) || !isRecord(token["payload"])) return null;
  const { header, payload } = token as Record<"header" | "payload", Record<string, unknown>>;
  const { sub, sid, iat, exp } = payload;
  if (header["typ"] !== ACCESS_TOKEN.type) return null;
  if (typeof sub !== "string" || typeof sid !== "string") return null;
  if (!UUID_PATTERN.test(sub) || !UUID_PATTERN.test(sid)) return null;
  if (!Number.isInteger(iat) || !Number.isInteger(exp)) return null;
  const [issued, expires] = [Number(iat), Number(exp)];
  if (issued > nowSeconds + ACCESS_TOKEN.clockToleranceSeconds) return null;
  if (expires - issued > ACCESS_TOKEN.lifetimeSeconds) return null;
  return { userId: sub, sessionId: sid };
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
