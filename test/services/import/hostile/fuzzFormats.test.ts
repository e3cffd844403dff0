/**
 * Fuzzing of every format there is, in files and record by record. Bounded and repeatable like fuzz.test.ts: `FUZZ_RUNS`
 * cases for each format (5 when it is not given), made from `FUZZ_SEED` and their number alone.
 */
import { expect } from "chai";
import { FORMATS, formatByName } from "../../../../services/import/formats/index.js";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { ImportFormat, JudgeRecord, RawRecord } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { activity, csv, daily } from "../formats/appleRows.js";
import * as youtube from "../formats/youtubeSamples.js";
import { json, play, podcast } from "../importing.js";
import { LIMITS, generator, inPieces, memoryBlob, openUpload } from "../reading/support.js";
import { below, oneOf, type Random, storable, UNLIKELY_VALUES, wounded } from "./fuzzing.js";

const RUNS = Number(process.env["FUZZ_RUNS"] ?? 5);
const SEED = Number(process.env["FUZZ_SEED"] ?? 4_200);
const NOW = Date.UTC(2026, 0, 1);
const RECORD_MAX_BYTES = 2000;
const EXCERPT_MAX_BYTES = 1024;

const lines = (records: readonly unknown[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join("");
const aliases = (alias: string) => ({ aliases: [{ alias, source: "Canonical", is_primary: true }] });

const LISTEN = {
  listened_at: 1_749_780_612,
  track_metadata: {
    track_name: "Desert é 😀",
    artist_name: "OurR",
    release_name: "Desert",
    recording_msid: "7ae12054-b489-41c7-9367-f53893a1990d",
    additional_info: { duration_ms: 245_000, isrc: "USRC17607839", media_player: "listenbrainz web" },
  },
};
const SCROBBLE = {
  artist: { mbid: "", "#text": "The Cure" },
  album: { "#text": "Faith" },
  name: 'Pri"mary',
  date: { uts: "1720688852" },
};
const PLAYING = { ...SCROBBLE, date: undefined, "@attr": { nowplaying: "true" } };
const EXPORTED = {
  playedAt: "2024-07-11T09:07:32.250Z",
  endedAt: "2024-07-11T09:10:00.000Z",
  startEarliest: "2024-07-11T09:07:30.000Z",
  startLatest: "2024-07-11T09:07:34.000Z",
  msPlayed: 147_000,
  durationMs: null,
  precision: "second",
  source: "spotify-extended",
  sourceKey: "668fa2c40123456789abcdef01234567",
  counted: true,
  track: { title: "Primary", externalIds: [{ provider: "isrc", id: "USRC17607839" }] },
  artist: { name: "The Cure" },
  album: { title: "Faith" },
  context: { platform: "linux", shuffle: false, place: 2 },
};
const END = "End Position In Milliseconds";

/** A small file of each format, most of its records plays. */
const FILES: Readonly<Record<string, string | Buffer>> = {
  "spotify-extended": json([play(1), podcast(2), play(3, { title: 'q"uo\\te' })]),
  "spotify-account": json([
    { endTime: "2023-01-14 01:24", artistName: "A", trackName: "T", msPlayed: 1000 },
    { endTime: "2023-01-14 01:28", artistName: "B", trackName: "U", msPlayed: 0 },
  ]),
  "apple-activity": csv([
    activity("One, two", 0, 90_000, { "End Reason Type": "PLAYBACK_MANUALLY_PAUSED", [END]: 90_000 }),
    activity("One, two", 95_000, 205_000, { "Start Position In Milliseconds": 90_000, [END]: 200_000 }),
    activity('T"hree', 300_000, 500_000, { "Event Type": "PLAY_START" }),
    activity("Four", 600_000, 800_000, { "Item Type": "AD" }),
  ]),
  "apple-daily": csv([daily("The Cure - Primary", 2), daily("Faith", 1), daily("None", 0)]),
  "apple-library": json([{ "Content Type": "Song", "Track Identifier": 7, Title: "A", Artist: "B" }]),
  "apple-recent": csv([{ "Track Description": "B - A", "Container Description": "", "Last Modified": "1" }]),
  "apple-track-history": csv([
    { "Track Name": "B - A", "Last Played Date": "1577836800000", "Is User Initiated": "true" },
  ]),
  listenbrainz: lines([LISTEN, { ...LISTEN, listened_at: 1_749_780_900 }]),
  "listenbrainz-list": json([LISTEN, { ...LISTEN, listened_at: 1_749_780_900 }]),
  "lastfm-pages": json([{ track: [SCROBBLE, PLAYING], "@attr": {} }, { track: SCROBBLE }]),
  "lastfm-list": json([SCROBBLE, PLAYING, SCROBBLE]),
  "lastfm-stats": JSON.stringify({
    username: "x",
    scrobbles: [{ track: "Primary", artist: "The Cure", album: "Faith", date: 1_720_688_852_000 }],
  }),
  "lastfm-csv": 'uts,artist,album,track\n1720688852,"The, Cure",Faith,Pri""mary\n1720688900,A,,"B\nC"\n',
  "lastfm-offset-csv": "ts,artist,album,track\n2024-07-11 12:07:32+03:00,The Cure,Faith,Primary\n",
  "lastfm-minute-csv": 'The Cure,Faith,Primary,11 Jul 2024 09:07\nA,,"B","22 May 2014 20:11"\n',
  maloja: JSON.stringify({
    maloja: {},
    scrobbles: [
      {
        time: 1_746_434_410,
        track: {
          artists: ["J.Rio", "Magnify Tokyo"],
          title: "朽ちない冠",
          album: { artists: ["Magnify Tokyo"], albumtitle: "Magnify" },
          length: 200,
        },
        duration: 90,
      },
    ],
  }),
  koito: JSON.stringify({
    version: "1",
    listens: [
      {
        listened_at: "2025-05-05T08:40:10Z",
        client: "test client",
        track: { mbid: null, duration: 354, ...aliases("Every Wave") },
        album: { mbid: null, ...aliases("LP3") },
        artists: [{ is_primary: true, ...aliases("American Football") }],
      },
    ],
  }),
  playlog: lines([EXPORTED, { ...EXPORTED, album: null, context: null }]),
  "youtube-json": json([
    youtube.activity(),
    youtube.activity({ title: "Watched Other", url: youtube.videoUrl(1), details: ["From Google Ads"] }),
    youtube.activity({ gone: ["url", "channel"] }),
  ]),
  "youtube-html": youtube.page([youtube.entry(), youtube.entry({ url: youtube.videoUrl(1), channel: "" })]),
};

const bytesOf = (name: string): Buffer => Buffer.from(FILES[name] ?? "");

async function recordsOf(format: ImportFormat, bytes: Buffer, pieceBytes: number) {
  const records: RawRecord[] = [];
  let end: string | null = null;
  try {
    const stream = inPieces(bytes, pieceBytes);
    for await (const chunk of readRecords(stream, { format, recordMaxBytes: RECORD_MAX_BYTES }))
      records.push(...chunk.records);
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    end = error.code;
  }
  expect(records.map(({ position }) => position)).to.deep.equal([...records.keys()]);
  return { records, end };
}

/** As an import judges the records of a file. */
async function judgeOf(format: ImportFormat, bytes: Buffer, pieceBytes: number): Promise<JudgeRecord> {
  const surveyor = format.survey?.begin(NOW);
  if (surveyor === undefined) return (record, context) => format.judge(record, context);
  const { expand: _, ...once } = format;
  for (const record of (await recordsOf(once, bytes, pieceBytes)).records)
    if (!("reason" in record)) surveyor.see(record.value, record.position);
  return surveyor.finish();
}

const CONTEXT = { name: "x", includeIncognito: false, now: NOW };

/** Each record's verdict and how the file ended; all of it fit to be stored. */
async function read(format: ImportFormat, bytes: Buffer, pieceBytes: number): Promise<readonly string[]> {
  const judge = await judgeOf(format, bytes, pieceBytes);
  const { records, end } = await recordsOf(format, bytes, pieceBytes);
  const verdicts = records.map((record) => {
    if ("reason" in record) return record.reason;
    expect(Buffer.byteLength(format.excerpt(record.value))).to.be.at.most(EXCERPT_MAX_BYTES);
    return storable(judge(record.value, CONTEXT, record.position));
  });
  return [...verdicts, end ?? "whole"];
}

async function formatOf(bytes: Buffer, pieceBytes: number): Promise<string> {
  const upload = await openUpload(memoryBlob(bytes, pieceBytes), "export", LIMITS);
  for await (const entry of upload.entries()) {
    const found = await detectFormat(entry);
    return found.format?.name ?? found.skipped ?? "";
  }
  return "";
}

/** The value with one of its values, at any depth, replaced by an unlikely one; sometimes one is taken away. */
function disfigured(random: Random, value: unknown): unknown {
  const fields = typeof value === "object" && value !== null ? Object.keys(value) : [];
  if (fields.length === 0 || random() < 0.1) return JSON.parse(oneOf(random, UNLIKELY_VALUES)) as unknown;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<
    string,
    unknown
  >;
  const name = oneOf(random, fields);
  if (random() < 0.1) Reflect.deleteProperty(copy, name);
  else copy[name] = disfigured(random, copy[name]);
  return copy;
}

/** Runs `work` with the random numbers of each case; a failure says which case it was. */
async function cases(name: string, work: (random: Random) => Promise<void> | void): Promise<void> {
  for (let run = 0; run < RUNS; run += 1) {
    const seed = SEED + run;
    try {
      await work(generator(seed));
    } catch (error) {
      throw new Error(`${name}, FUZZ_SEED=${seed} FUZZ_RUNS=1`, { cause: error });
    }
  }
}

describe("fuzzing every format", function () {
  this.timeout(30_000 + RUNS * 3000);

  it("begins with a file of each, which is known for what it is", async () => {
    expect(Object.keys(FILES)).to.have.members(FORMATS.map(({ name }) => name));
    for (const format of FORMATS) {
      expect(await formatOf(bytesOf(format.name), 16 * 1024)).to.equal(format.name);
      const verdicts = await read(format, bytesOf(format.name), 16 * 1024);
      expect(verdicts.at(-1), format.name).to.equal("whole");
      expect(verdicts[0], format.name).to.match(/^[0-9a-f]{32}$|^aggregate$/);
    }
  });

  it("reads wounded files or refuses them, the same way in pieces of any size", async () => {
    for (const format of FORMATS) {
      await cases(format.name, async (random) => {
        const other = bytesOf(oneOf(random, Object.keys(FILES)));
        const bytes = wounded(random, bytesOf(format.name), other);
        const pieceBytes = 1 + below(random, 100);
        const found = await formatOf(bytes, 16 * 1024);
        expect(await formatOf(bytes, pieceBytes)).to.equal(found);
        const reader = formatByName(found) ?? format;
        const whole = await read(reader, bytes, 16 * 1024);
        expect(await read(reader, bytes, pieceBytes), reader.name).to.deep.equal(whole);
      });
    }
  });

  it("gives every record a verdict that can be stored, whatever is in its fields", async () => {
    // What a page is cut into is made by the reader; there is nothing in it but texts.
    for (const format of FORMATS.filter(({ container }) => container !== "html-cells")) {
      const { records } = await recordsOf(format, bytesOf(format.name), 16 * 1024);
      await cases(format.name, (random) => {
        for (const record of records) {
          const value = disfigured(random, record.value);
          storable(format.judge(value, CONTEXT));
          expect(Buffer.byteLength(format.excerpt(value))).to.be.at.most(EXCERPT_MAX_BYTES);
        }
      });
    }
  });
});
