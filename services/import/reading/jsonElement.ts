/** Turning the bytes of JSON elements into records. */
import { isUtf8 } from "node:buffer";
import type { RawRecord } from "../types.js";
import type { RejectReason } from "../verdicts.js";
import { rawExcerpt } from "./excerpt.js";

/** Levels of nesting a record may have, its own included. */
const MAX_DEPTH = 32;
const OPENING_BYTES = 8192;

/** `bytes` as the inside of a list, when every element of it is in order; else null. */
export function parseList(bytes: Buffer): unknown[] | null {
  if (!isUtf8(bytes)) return null;
  try {
    const list: unknown = JSON.parse(`[${bytes.toString("utf8")}]`);
    // Too deep: left to the scan, which says so of the one record.
    return Array.isArray(list) && !nestsDeeperThan(list, MAX_DEPTH + 1) ? list : null;
  } catch {
    return null;
  }
}

/** One element on its own: its value, or what is wrong with it. `deepest`: levels of nesting found while scanning. */
export function parseElement(position: number, bytes: Buffer, deepest: number): RawRecord {
  // A file of nothing but commas has a million of these in a megabyte; an exception for each would be dear.
  if (bytes.length === 0) return refused(position, "malformed", "");
  if (!isUtf8(bytes)) return refused(position, "encoding", null);
  const text = bytes.toString("utf8");
  if (deepest > MAX_DEPTH) return refused(position, "too_deep", rawExcerpt(text));
  try {
    const value: unknown = JSON.parse(text);
    return { position, value };
  } catch {
    return refused(position, "malformed", rawExcerpt(text));
  }
}

/** Excerpt of an element of which only the beginning is there; null when it is not text. */
export function openingExcerpt(bytes: Buffer): string | null {
  const head = wholeCharacters(bytes.subarray(0, OPENING_BYTES));
  return isUtf8(head) ? rawExcerpt(head.toString("utf8")) : null;
}

function nestsDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (levels === 0) return true;
  for (const inner of Object.values(value)) {
    if (typeof inner === "object" && inner !== null && nestsDeeperThan(inner, levels - 1)) return true;
  }
  return false;
}

const MESSAGES: Partial<Record<RejectReason, string>> = {
  encoding: "The record is not valid UTF-8",
  too_deep: `The record is nested deeper than ${MAX_DEPTH} levels`,
  malformed: "The record is not valid JSON",
};

export function refused(
  position: number,
  reason: RejectReason,
  excerpt: string | null,
  limitBytes = 0,
): RawRecord {
  const message = reason === "too_long" ? `The record is larger than ${limitBytes} bytes` : MESSAGES[reason];
  return { position, reason, message: message ?? reason, excerpt };
}

/** `bytes` without their last character, which the end may cut through. */
function wholeCharacters(bytes: Buffer): Buffer {
  let lead = bytes.length - 1;
  while (lead > 0 && lead > bytes.length - 4 && ((bytes[lead] ?? 0) & 0xc0) === 0x80) lead -= 1;
  return bytes.subarray(0, Math.max(0, lead));
}
