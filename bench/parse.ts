/**
 * `npm run bench -- parse [records] [rounds]`, or `node --import tsx bench/parse.ts` (needs no server)
 *
 * What cutting a file into records costs on top of JSON.parse: the same bytes are parsed whole (one string, one
 * JSON.parse, which no file of 512 MB or more allows) and through `readRecords` in the 64 KiB pieces of an unpacking stream,
 * in turns; ratios are taken within a round. "read and judged" adds what the format does with each record.
 */
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { spotifyExtended } from "../services/import/formats/spotifyExtended.js";
import { readRecords } from "../services/import/reading/records.js";
import { listenerRecords } from "./support/spotifyArchive.js";
import { median, ratio } from "./support/statistics.js";

const GOAL = 0.55;
const PIECE_BYTES = 64 * 1024;
const context = { name: "bench.json", includeIncognito: false, now: Date.now() };

type Parse = (bytes: Buffer) => Promise<number>;

const PARSERS: Readonly<Record<string, Parse>> = {
  "JSON.parse of the whole": (bytes) => {
    const list: unknown = JSON.parse(bytes.toString("utf8"));
    return Promise.resolve(Array.isArray(list) ? list.length : 0);
  },
  readRecords: (bytes) => throughReader(bytes, (records) => records.length),
  "read and judged": (bytes) =>
    throughReader(bytes, (records) => {
      let plays = 0;
      for (const { value } of records) {
        if (spotifyExtended.judge(value, context).verdict === "play") plays += 1;
      }
      return plays;
    }),
};

async function throughReader(
  bytes: Buffer,
  count: (records: readonly { readonly value?: unknown }[]) => number,
): Promise<number> {
  let total = 0;
  const options = { format: spotifyExtended, recordMaxBytes: 64 * 1024 };
  for await (const { records } of readRecords(Readable.from(pieces(bytes)), options)) total += count(records);
  return total;
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) yield bytes.subarray(at, at + PIECE_BYTES);
}

export async function run(args: readonly string[]): Promise<void> {
  const count = Number(args[0] ?? 100_000);
  const rounds = Number(args[1] ?? 7);
  const records = [...listenerRecords({ rows: count })];
  // Real files are written both ways, depending on their year; one letter beyond Latin-1 makes strings twice as wide.
  const files: Readonly<Record<string, Buffer>> = {
    "one line": Buffer.from(JSON.stringify(records)),
    "indented, with other scripts": Buffer.from(
      JSON.stringify(
        records.map((record, n) => (n % 10 === 0 ? { ...record, platform: "モノクロ" } : record)),
        null,
        2,
      ),
    ),
  };
  console.log(`${count.toLocaleString("en")} records, ${rounds} rounds; goal: readRecords at least ${GOAL}`);
  for (const [name, bytes] of Object.entries(files)) await compare(name, bytes, count, rounds);
}

async function compare(file: string, bytes: Buffer, count: number, rounds: number): Promise<void> {
  const seconds = new Map<string, number[]>(Object.keys(PARSERS).map((name) => [name, []]));
  for (let round = -1; round < rounds; round += 1) {
    const turn = Object.entries(PARSERS);
    if (round % 2 === 0) turn.reverse();
    for (const [name, parse] of turn) {
      const started = performance.now();
      const found = await parse(bytes);
      const elapsed = (performance.now() - started) / 1000;
      if (found !== count) throw new Error(`${name} found ${found} of ${count} records`);
      if (round >= 0) seconds.get(name)?.push(elapsed); // the round before the first warms up
    }
  }
  const [floor = []] = seconds.values();
  console.log(`\n${file}, ${(bytes.length / 1e6).toFixed(1)} MB`);
  for (const [name, times] of seconds) {
    const rate = Math.round(count / median(times) / 1000);
    const share = median(times.map((time, round) => (floor[round] ?? NaN) / time));
    console.log(`  ${name.padEnd(26)} ${String(rate).padStart(5)}k records/s   ${ratio(share)}`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await run(process.argv.slice(2));
