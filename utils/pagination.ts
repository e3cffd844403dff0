/**
 * Positions in a list, as clients carry them from page to page: base64url of a checksum and a JSON array.
 * A cursor holds the sort key of the last row seen, so a row that was deleted since does not disturb it.
 * It is no secret and no permission: whoever forges one reads another part of their own list.
 */
import { createHash } from "node:crypto";
import { ValidationError } from "./errors.js";
import { parseInstant } from "./time.js";

export type CursorPart = string | number;

/** Turns the parts of a cursor into a position; null when they are not what the list put into it. */
export type CursorReader<T> = (parts: readonly unknown[]) => T | null;

const POSITION_TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$/;

/** For readers: a time in UTC with microseconds, as PostgreSQL keeps it and a Date would not. */
export const isPositionTime = (part: unknown): part is string =>
  typeof part === "string" && POSITION_TIME.test(part) && parseInstant(part) !== null;

/** For readers: a whole number from 0, small enough for a column of type integer, or for a bigint id. */
export const isPositionNumber = (part: unknown, max = Number.MAX_SAFE_INTEGER): part is number =>
  typeof part === "number" && Number.isSafeInteger(part) && part >= 0 && part <= max;

const CHECKSUM_BYTES = 4;
/** Longer ones are refused. */
export const MAX_CURSOR_LENGTH = 512;

const checksum = (json: Buffer): Buffer =>
  createHash("sha256").update(json).digest().subarray(0, CHECKSUM_BYTES);

/** `list` names the list and its order, so that a cursor of one list is refused by another. */
export function encodeCursor(list: string, parts: readonly CursorPart[]): string {
  const json = Buffer.from(JSON.stringify([list, ...parts]));
  return Buffer.concat([checksum(json), json]).toString("base64url");
}

/** Throws `ValidationError` (400 `bad_cursor`) for anything that `encodeCursor` did not make for this list. */
export function decodeCursor<T>(list: string, text: string, read: CursorReader<T>): T {
  const parts = unpack(text);
  const position = parts !== null && parts[0] === list ? read(parts.slice(1)) : null;
  if (position === null) throw badCursor();
  return position;
}

function unpack(text: string): readonly unknown[] | null {
  if (text.length > MAX_CURSOR_LENGTH) return null;
  const bytes = Buffer.from(text, "base64url");
  // Node reads base64 leniently; only the one spelling that encodeCursor writes is taken.
  if (bytes.toString("base64url") !== text) return null;
  const json = bytes.subarray(CHECKSUM_BYTES);
  if (!checksum(json).equals(bytes.subarray(0, CHECKSUM_BYTES))) return null;
  try {
    const parsed: unknown = JSON.parse(json.toString());
    return Array.isArray(parsed) ? parsed : null;
  } catch {
    return null;
  }
}

function badCursor(): ValidationError {
  const message = "This cursor is not one that this list has given";
  return new ValidationError(message, [{ path: "cursor", code: "bad_cursor", message }], "bad_cursor");
}
