/**
 * What the first bytes of a file say it can be. Only what certainly holds no history is told apart here; which
 * format a text or an archive has is for the import to find out.
 */
import { containerKindOf } from "../../services/import/reading/container.js";

export type ContentKind = "zip" | "gzip" | "tar" | "text" | "other";

/** How many bytes are looked at. */
export const SAMPLE_BYTES = 1024;

/** Share of control characters from which a sample is no text: a stray one in a damaged row does not matter. */
const CONTROL_SHARE = 0.05;

const signature = (...bytes: readonly number[]): Buffer => Buffer.from(bytes);
const SIGNATURES: readonly (readonly [ContentKind, Buffer])[] = [
  ["zip", signature(0x50, 0x4b, 0x03, 0x04)],
  ["zip", signature(0x50, 0x4b, 0x05, 0x06)], // an archive without entries
  ["zip", signature(0x50, 0x4b, 0x07, 0x08)], // the first volume of a split archive
  ["gzip", signature(0x1f, 0x8b)],
  ["text", signature(0xff, 0xfe)], // UTF-16 with byte order mark, half of it NUL
  ["text", signature(0xfe, 0xff)],
];

/** `sample` is the beginning of the file, up to `SAMPLE_BYTES`, and not empty. */
export function kindOf(sample: Buffer): ContentKind {
  const known = SIGNATURES.find(([, bytes]) => sample.subarray(0, bytes.length).equals(bytes));
  if (known !== undefined) return known[0];
  if (containerKindOf(sample) === "tar") return "tar";
  return countControls(sample) > sample.length * CONTROL_SHARE ? "other" : "text";
}

const TAB = 0x09;
const CR = 0x0d;
const ESC = 0x1b;
const SPACE = 0x20;

function countControls(sample: Buffer): number {
  let count = 0;
  for (const byte of sample) if (byte < SPACE && (byte < TAB || byte > CR) && byte !== ESC) count += 1;
  return count;
}
