/**
 * Bounded: `FUZZ_RUNS` cases for each target (100 when it is not given), made from `FUZZ_SEED` and their number alone, so that
 * a case that fails is run again by its seed. `FUZZ_RUNS=20000 npx mocha test/services/import/hostile/fuzz.test.ts`
 * takes some minutes.
 */
import { expect } from "chai";
import { gzipSync } from "node:zlib";
import { FORMATS } from "../../../../services/import/formats/index.js";
import { spotifyExtended } from "../../../../services/import/formats/spotifyExtended.js";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import { ImportError, REJECT_REASONS } from "../../../../services/import/verdicts.js";
import { heapMegabytes } from "../../../support/memory.js";
import { json, play, podcast } from "../importing.js";
import {
  LIMITS,
  buildZip,
  generator,
  memoryBlob,
  memoryNested,
  openUpload,
  type ZipFileSpec,
} from "../reading/support.js";
import { below, oneOf, type Random, storable, UNLIKELY_VALUES, wounded } from "./fuzzing.js";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 100);
const SEED = Number(process.env["FUZZ_SEED"] ?? 4_200);
const SMALL = {
  ...LIMITS,
  entryMaxBytes: 200_000,
  unpackedMaxBytes: 400_000,
  maxEntries: 40,
  recordMaxBytes: 2000,
};

const account = (n: number) => ({
  endTime: "2023-01-14 01:24",
  artistName: `A${n}`,
  trackName: "T",
  msPlayed: n,
});
const EXTENDED = json([play(1), podcast(2), play(3, { title: 'q"uo\\te é 😀' }), play(4)]);
const ACCOUNT = Buffer.from(JSON.stringify([account(1), account(2), account(3)], null, 2));
const ARCHIVE = buildZip([
  { name: "a/StreamingHistory0.json", data: ACCOUNT },
  { name: "b.json", data: EXTENDED, stored: true },
  { name: "readme.txt", data: "hello" },
]);
const NESTED = buildZip([
  { name: "n.zip", data: buildZip([{ name: "c.json", data: EXTENDED }]) },
  { name: "d.json.gz", data: gzipSync(ACCOUNT) },
]);
const PACKED = gzipSync(EXTENDED);

/** Everything that can be told of an upload: of each file what it is, its records, and how reading it ended. */
interface Reading {
  readonly refused: string | null;
  readonly files: readonly {
    readonly number: number;
    readonly name: string;
    readonly found: string;
    readonly verdicts: readonly string[];
    readonly end: string | null;
  }[];
  readonly bytesRead: number;
}

async function read(bytes: Buffer, pieceBytes: number): Promise<Reading> {
  const blob = memoryBlob(bytes, pieceBytes);
  const files: Reading["files"][number][] = [];
  try {
    const upload = await openUpload(blob, "upload.json", SMALL, memoryNested(pieceBytes));
    for await (const entry of upload.entries()) {
      const detected = await detectFormat(entry);
      const found = detected.format?.name ?? detected.skipped ?? "";
      const format = detected.format ?? spotifyExtended;
      const verdicts: string[] = [];
      const end = await codeOf(async () => {
        let last = 0;
        const stream = await entry.open();
        for await (const chunk of readRecords(stream, { format, recordMaxBytes: SMALL.recordMaxBytes })) {
          expect(chunk.bytesRead).to.be.within(last, SMALL.entryMaxBytes);
          last = chunk.bytesRead;
          for (const record of chunk.records) {
            expect(record.position).to.equal(verdicts.length);
            verdicts.push("reason" in record ? refusedRecord(record) : judged(record.value));
          }
        }
      });
      expect(verdicts.length).to.be.at.most(SMALL.entryMaxBytes + 1);
      files.push({ number: entry.index, name: entry.name, found, verdicts, end });
    }
  } catch (error) {
    return { refused: importCode(error), files, bytesRead: blob.bytesRead };
  }
  return { refused: null, files, bytesRead: blob.bytesRead };
}

const refusedRecord = ({ reason, excerpt }: { reason: string; excerpt: string | null }): string => {
  expect(reason in REJECT_REASONS).to.equal(true);
  expect(Buffer.byteLength(excerpt ?? "")).to.be.at.most(1024);
  return `${reason} ${excerpt ?? ""}`;
};

/** The verdict of every format, each of them one that can be stored. */
function judged(value: unknown): string {
  return FORMATS.map((format) => {
    format.recognises({ name: "x", firstRecord: value });
    const excerpt = format.excerpt(value);
    expect(Buffer.byteLength(excerpt)).to.be.at.most(1024);
    const verdict = format.judge(value, { name: "x", includeIncognito: false, now: Date.UTC(2026, 0, 1) });
    return storable(verdict);
  }).join();
}

async function codeOf(work: () => Promise<void>): Promise<string | null> {
  try {
    await work();
    return null;
  } catch (error) {
    return importCode(error);
  }
}

function importCode(error: unknown): string {
  if (error instanceof ImportError) return error.code;
  throw error;
}

const TOKENS = [
  "[",
  "]",
  "{",
  "}",
  '"',
  "\\",
  ",",
  ":",
  " ",
  "\n",
  "\ufeff",
  "é",
  "😀",
  "\0",
  "\\u0000",
  "\\ud83d",
  "1e999",
  "-0",
];
const FIELDS = [
  ...new Set([
    ...Object.keys(play(1)),
    ...Object.keys(account(1)),
    "podcastName",
    "__proto__",
    "toJSON",
    "length",
  ]),
];
/** A list of objects with known fields and unlikely values, and sometimes something between that is no JSON. */
function soup(random: Random): Buffer {
  const records = Array.from({ length: below(random, 12) }, () => {
    if (random() < 0.15)
      return Array.from({ length: below(random, 9) }, () => oneOf(random, TOKENS)).join("");
    const fields = Array.from(
      { length: below(random, 10) },
      () => `"${oneOf(random, FIELDS)}":${oneOf(random, UNLIKELY_VALUES)}`,
    );
    return `{${fields.join(",")}}`;
  });
  return Buffer.from(
    `${random() < 0.9 ? "[" : ""}${records.join(oneOf(random, [",", ", ", "\n,", ","]))}${random() < 0.9 ? "]" : ""}`,
  );
}

/** An archive with a few lies. */
function liar(random: Random): Buffer {
  const files = Array.from({ length: below(random, 6) }, (_, n): ZipFileSpec => {
    const data = oneOf(random, [
      EXTENDED,
      ACCOUNT,
      soup(random),
      ARCHIVE,
      PACKED,
      Buffer.alloc(below(random, 5000), "A"),
    ]);
    return {
      name:
        random() < 0.1
          ? oneOf(random, ["../x", "/x", "a\0", "same", "", "C:\\x", "x/", "__MACOSX/y"])
          : `${n}.json`,
      data,
      stored: random() < 0.3,
      ...(random() < 0.1 ? { method: oneOf(random, [0, 8, 9, 12, 99]) } : {}),
      ...(random() < 0.1 ? { crc: below(random, 2 ** 32) } : {}),
      ...(random() < 0.15
        ? {
            unpackedBytes: oneOf(
              random,
              [0, 1, data.length - 1, data.length + 1, 2 ** 32 - 1].map((size) => Math.max(0, size)),
            ),
          }
        : {}),
      ...(random() < 0.1 ? { flags: oneOf(random, [0, 1, 8, 0x800, 0x2041]) } : {}),
      ...(random() < 0.1 ? { unixMode: oneOf(random, [0o120777, 0o040755, 0o100644, 0o060000]) } : {}),
      ...(random() < 0.1 ? { packed: data.subarray(0, below(random, data.length + 1)) } : {}),
      ...(n > 0 && random() < 0.05 ? { sameBodyAs: 0 } : {}),
    };
  });
  return buildZip(files, {
    comment: random() < 0.1 ? "PK\u0005\u0006" : "",
    zip64: random() < 0.2,
    ...(random() < 0.1 ? { entryCount: below(random, 100) } : {}),
  });
}

interface Target {
  /** Whether what precedes a damaged place can be told from the bytes alone, whatever pieces they come in. */
  readonly exact: boolean;
  readonly make: (random: Random) => Buffer;
}

const TARGETS: Readonly<Record<string, Target>> = {
  "wounded lists of records": {
    exact: true,
    make: (random) => wounded(random, oneOf(random, [EXTENDED, ACCOUNT]), oneOf(random, [ACCOUNT, EXTENDED])),
  },
  "lists of unlikely records": { exact: true, make: soup },
  "wounded archives": {
    exact: false,
    make: (random) => wounded(random, oneOf(random, [ARCHIVE, NESTED]), oneOf(random, [ARCHIVE, EXTENDED])),
  },
  "archives that lie": { exact: false, make: liar },
  "wounded gzip files": {
    exact: false,
    make: (random) => wounded(random, PACKED, oneOf(random, [PACKED, EXTENDED])),
  },
};

/** Cases that failed once: `[target, seed]`. */
const FOUND: readonly (readonly [string, number])[] = [];

async function attempt(target: Target, seed: number): Promise<void> {
  const random = generator(seed);
  const bytes = target.make(random);
  const pieces = [1 + below(random, 100), 16 * 1024] as const;
  const whole = await read(bytes, pieces[1]);
  expect(await read(bytes, pieces[1])).to.deep.equal(whole);
  const inPieces = await read(bytes, pieces[0]);
  expect(inPieces.refused).to.equal(whole.refused);
  if (target.exact) expect(inPieces.files).to.deep.equal(whole.files);
  // Each file is looked at a few times, and read to its end once to be recognised and once for its records.
  expect(whole.bytesRead).to.be.below(12 * bytes.length + 200_000 * (1 + whole.files.length));
}

describe("fuzzing what reads uploads", () => {
  for (const [name, target] of Object.entries(TARGETS)) {
    it(`reads ${name} or refuses them, the same way every time`, async function () {
      this.timeout(30_000 + RUNS * 300);
      const before = heapMegabytes();
      for (let run = 0; run < RUNS; run += 1) {
        const seed = SEED + run;
        try {
          await attempt(target, seed);
        } catch (error) {
          throw new Error(`${name}, FUZZ_SEED=${seed} FUZZ_RUNS=1`, { cause: error });
        }
      }
      expect(heapMegabytes() - before).to.be.below(40);
    });
  }

  for (const [name, seed] of FOUND) {
    it(`still reads case ${seed} of ${name}`, () => attempt(TARGETS[name]!, seed));
  }
});
