/** What fuzzing of all kinds has in common: small wounds for files, unlikely values, and what a verdict must be fit for. */
import { expect } from "chai";
import { REJECT_REASONS, SKIP_REASONS } from "../../../../services/import/verdicts.js";
import type { Verdict } from "../../../../services/import/types.js";

export type Random = () => number;
export const below = (random: Random, limit: number): number => Math.floor(random() * limit);
export const oneOf = <T>(random: Random, values: readonly T[]): T => values[below(random, values.length)]!;

/** PostgreSQL's integer. */
const LARGEST_INTEGER = 2 ** 31 - 1;
const FIRST_STORABLE_MS = Date.UTC(-4000, 0, 1);
const LAST_STORABLE_MS = Date.UTC(9999, 11, 31, 23, 59, 60);

/** The verdict as text that another reading can be compared with; fails when it is one that could not be stored. */
export function storable(verdict: Verdict): string {
  if (verdict.verdict === "skipped") expect(verdict.reason in SKIP_REASONS).to.equal(true);
  if (verdict.verdict === "rejected") expect(verdict.reason in REJECT_REASONS).to.equal(true);
  if (verdict.verdict !== "play") return verdict.reason;
  const { play: found } = verdict;
  expect(found.sourceKey).to.have.length(16);
  for (const time of [found.playedAt, found.startEarliest, found.startLatest, found.endedAt ?? 0]) {
    expect(time).to.satisfy(Number.isSafeInteger);
    expect(time).to.be.within(FIRST_STORABLE_MS, LAST_STORABLE_MS);
  }
  expect(found.startEarliest).to.be.at.most(found.playedAt);
  expect(found.startLatest).to.be.at.least(found.playedAt);
  for (const number of [found.msPlayed, found.durationMs]) {
    if (number === null) continue;
    expect(number).to.satisfy(Number.isSafeInteger);
    expect(number).to.be.within(0, LARGEST_INTEGER);
  }
  for (const text of [found.title, found.artist, found.album ?? "x", found.trackId?.id ?? "x"]) {
    expect(text.trim()).to.not.equal("");
    expect(text).to.not.match(/\0|\p{Surrogate}/u);
    expect(Buffer.byteLength(text)).to.be.at.most(3 * 4096);
  }
  expect(JSON.stringify(found.context)).to.not.match(/\\u0000|\\ud[89a-f]/i);
  return found.sourceKey.toString("hex");
}

/** A few small wounds: bits, bytes, ends, pieces of another file. */
export function wounded(random: Random, sample: Buffer, other: Buffer): Buffer {
  let bytes = Buffer.from(sample);
  for (let wound = below(random, 4); wound >= 0 && bytes.length > 1; wound -= 1) {
    const at = below(random, bytes.length);
    const length = 1 + below(random, Math.min(64, bytes.length - at));
    switch (below(random, 8)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
        break;
      case 1:
        bytes[at] = oneOf(random, [0, 0xff, 0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d, 0x2c, 0x20, 0x50]);
        break;
      case 2:
        bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
        break;
      case 5: {
        const from = below(random, other.length);
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          other.subarray(from, from + length),
          bytes.subarray(at),
        ]);
        break;
      }
      case 6:
        bytes = Buffer.concat([
          bytes.subarray(0, at),
          Buffer.alloc(length, oneOf(random, [0, 0xff, 0x20, 0x5c])),
          bytes.subarray(at),
        ]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(at), bytes.subarray(0, at)]);
    }
  }
  return bytes;
}

/** As they stand in a JSON document. */
export const UNLIKELY_VALUES = [
  '"2020-01-01T00:00:00Z"',
  '"2023-01-14 01:24"',
  '"2024-02-30T00:00:00Z"',
  '"9999-12-31T23:59:59Z"',
  '""',
  '" "',
  "null",
  "true",
  "0",
  "-1",
  "1.5",
  "2147483647",
  "2147483648",
  "1e308",
  "1e999",
  "[]",
  "{}",
  '{"toString":1}',
  '"\\u0000"',
  '"\\ud83d"',
  '"spotify:track:0000000000000000000000"',
  '"name"',
  `"${"x".repeat(3000)}"`,
  `"${"é".repeat(700)}"`,
  "[".repeat(40) + "]".repeat(40),
];
