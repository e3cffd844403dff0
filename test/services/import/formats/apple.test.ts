import { Readable } from "node:stream";
import { expect } from "chai";
import { appleDailyKey, appleExportKey } from "../../../../services/history/sourceKey.js";
import { appleActivity } from "../../../../services/import/formats/appleActivity.js";
import { ArtistNames } from "../../../../services/import/formats/appleArtists.js";
import { appleDaily } from "../../../../services/import/formats/appleDaily.js";
import { Segments } from "../../../../services/import/formats/appleSegments.js";
import type { Segment } from "../../../../services/import/formats/appleSegments.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { ImportFormat, Play, RawRecord, Verdict } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { activity, at, csv, daily } from "./appleRows.js";
import type { Cells } from "./appleRows.js";

const NOW = Date.UTC(2026, 0, 1);
const CONTEXT = { name: "x.csv", includeIncognito: false, now: NOW };
const MINUTE = 60_000;

async function recordsOf(format: ImportFormat, text: string): Promise<RawRecord[]> {
  const records: RawRecord[] = [];
  for await (const chunk of readRecords(Readable.from([Buffer.from(text)]), {
    format,
    recordMaxBytes: 65_536,
  }))
    records.push(...chunk.records);
  return records;
}

async function judged(format: ImportFormat, text: string): Promise<Verdict[]> {
  const records = await recordsOf(format, text);
  const surveyor = format.survey?.begin(NOW);
  for (const { value, position } of records) surveyor?.see(value, position);
  const judge = surveyor?.finish() ?? ((record) => format.judge(record, CONTEXT));
  return records.map(({ value, position }) => judge(value, CONTEXT, position));
}

const ofRows = (rows: readonly Cells[], columns?: string[]) => judged(appleActivity, csv(rows, columns));
const outcome = (verdict: Verdict): string => (verdict.verdict === "play" ? "play" : verdict.reason);

function playOf(verdict: Verdict | undefined): Play {
  if (verdict?.verdict !== "play") throw new Error(`no play: ${JSON.stringify(verdict)}`);
  return verdict.play;
}

describe("Apple Music's play activity", () => {
  it("becomes a play with start, end, length, zone and reason, and nothing personal", async () => {
    const [verdict] = await ofRows([
      activity("Song", 0, 150_000, { "End Reason Type": "TRACK_SKIPPED_FORWARDS" }),
    ]);
    const play = playOf(verdict);
    expect(play).to.deep.equal({
      source: "apple-export",
      sourceKey: appleExportKey({
        eventMs: Date.parse(at(150_000)),
        artist: null,
        title: "Song",
        album: "Album of Song",
        msPlayed: 150_000,
      }),
      playedAt: Date.parse(at(0)),
      endedAt: Date.parse(at(150_000)),
      startEarliest: Date.parse(at(0)) - 2000,
      startLatest: Date.parse(at(0)) + 2000,
      precision: "second",
      msPlayed: 150_000,
      durationMs: 200_000,
      counted: true,
      title: "Song",
      artist: "[unknown]",
      album: "Album of Song",
      trackId: null,
      context: {
        platform: "ORIGINATING_DEVICE",
        reasonEnd: "TRACK_SKIPPED_FORWARDS",
        skipped: true,
        offline: false,
        shuffle: false,
        utcOffsetSeconds: -18_000,
        artistFrom: "unknown",
      },
    });
    expect(appleActivity.excerpt((await recordsOf(appleActivity, csv([activity("Song", 0, 1)])))[0]?.value))
      .to.contain("Song")
      .and.not.match(/4711|192\.0\.2\.7|my-phone/);
  });

  it("is known by its columns in every generation, and read in any order of them", async () => {
    const old = {
      "Artist Name": "Band",
      "Content Name": "Old Song",
      "Event End Timestamp": at(100_000),
      "Event Start Timestamp": at(0),
      "Play Duration Milliseconds": "100000.0",
      "UTC Offset In Seconds": "25200.0",
      Offline: "True",
    };
    for (const columns of [Object.keys(old), Object.keys(old).reverse()]) {
      expect(appleActivity.recognises({ name: "x", firstRecord: undefined, columns })).to.equal(true);
      const play = playOf((await ofRows([old], columns))[0]);
      expect(play).to.include({
        title: "Old Song",
        artist: "Band",
        album: null,
        msPlayed: 100_000,
        durationMs: null,
      });
      expect(play.context).to.deep.equal({ offline: true, utcOffsetSeconds: 25_200 });
    }
    const columns = Object.keys(activity("Song", 0, 1));
    expect(appleActivity.recognises({ name: "x", firstRecord: undefined, columns })).to.equal(true);
    expect(appleActivity.recognises({ name: "x", firstRecord: { a: 1 } })).to.equal(false);
  });

  it("says of each other row why it is no play", async () => {
    const rows = [
      activity("Song", 0, 1000, { "Event Type": "" }),
      activity("Song", 2000, 3000, { "Event Type": "LYRIC_DISPLAY" }),
      activity("Song", 4000, 5000, { "Item Type": "AUDIO_AD" }),
      activity("", 6000, 7000, { "Item Type": "AGGREGATE_NON_CATALOG_PLAY_TIME" }),
      activity("Radio", 8000, 9000, { "Item Type": "STREAM" }),
      activity("Clip", 8000, 9000, { "Media Type": "VIDEO" }),
      activity("", 8000, 9000),
      activity("Song", 8000, 9000, { "Event End Timestamp": "" }),
      activity("Song", 8000, 9000, { "Event End Timestamp": "yesterday" }),
      activity("Song", 8000, 9000, { "Event End Timestamp": "1999-01-01T00:00:00Z" }),
      activity("Song", 8000, 9000, { "Play Duration Milliseconds": "long" }),
      activity("Song", 8000, 9000, { "Play Duration Milliseconds": "1E+20" }),
    ];
    expect((await ofRows(rows)).map(outcome)).to.deep.equal([
      "play",
      "not_a_play",
      "ad",
      "aggregate",
      "not_music",
      "video",
      "removed",
      "missing_field",
      "bad_time",
      "time_out_of_range",
      "bad_number",
      "bad_number",
    ]);
  });

  it("keeps a row that lasted less than nothing, or that has no length, for what it is", async () => {
    const [negative, missing] = await ofRows([
      activity("A", 0, 5000, { "Event Start Timestamp": "", "Play Duration Milliseconds": -1500 }),
      activity("B", 0, 9000, { "Play Duration Milliseconds": "" }),
    ]);
    expect(playOf(negative)).to.include({
      msPlayed: 0,
      counted: false,
      playedAt: Date.parse(at(5000)),
      startEarliest: Date.parse(at(5000)) - 10 * MINUTE - 2000,
    });
    expect(playOf(missing)).to.include({ msPlayed: null, counted: true });
  });

  it("is a play by its start alone only where no end of the song follows", async () => {
    const start = (song: string, from: number) =>
      activity(song, from, from, {
        "Event Type": "PLAY_START",
        "Event End Timestamp": "",
        "Play Duration Milliseconds": "",
      });
    const verdicts = await ofRows([
      start("Announced", 0),
      start("Alone", 1000),
      start("Late", 2000),
      activity("Announced", 0, 180_000),
      activity("Late", 3_600_000, 3_700_000),
    ]);
    expect(verdicts.map(outcome)).to.deep.equal(["not_a_play", "play", "play", "play", "play"]);
    expect(playOf(verdicts[1])).to.include({ endedAt: null, msPlayed: null, playedAt: Date.parse(at(1000)) });
  });

  describe("in several rows", () => {
    const PAUSED = { "End Reason Type": "PLAYBACK_MANUALLY_PAUSED" };
    const rows = [
      activity("Song", 0, 60_000, PAUSED),
      activity("Song", 10 * MINUTE, 10 * MINUTE + 20_000, {
        "End Reason Type": "SCRUB_BEGIN",
        "Start Position In Milliseconds": 60_000,
        "End Position In Milliseconds": 80_000,
      }),
      activity("Song", 0, 10 * MINUTE + 21_000, {
        "Event Start Timestamp": "",
        "End Reason Type": "SCRUB_END",
        "Play Duration Milliseconds": -30_000,
        "Start Position In Milliseconds": 80_000,
        "End Position In Milliseconds": 50_000,
      }),
      activity("Song", 10 * MINUTE + 21_000, 10 * MINUTE + 71_000, {
        "Start Position In Milliseconds": 50_000,
        "End Position In Milliseconds": 100_000,
      }),
    ];
    const others = [
      activity("Other", 20 * MINUTE, 20 * MINUTE + 60_000, PAUSED),
      activity("Between", 22 * MINUTE, 23 * MINUTE),
      activity("Other", 24 * MINUTE, 25 * MINUTE, { "Start Position In Milliseconds": 60_000 }),
      activity("Slow", 30 * MINUTE, 31 * MINUTE, PAUSED),
      activity("Slow", 62 * MINUTE, 63 * MINUTE, { "Start Position In Milliseconds": 60_000 }),
      activity("Again", 70 * MINUTE, 71 * MINUTE),
      activity("Again", 72 * MINUTE, 73 * MINUTE, { "Start Position In Milliseconds": 60_000 }),
    ];

    it("is one play: the first row's start and key, the last row's end, the sum of what was heard", async () => {
      const verdicts = await ofRows(rows);
      expect(verdicts.map(outcome)).to.deep.equal(["play", "continuation", "continuation", "continuation"]);
      const play = playOf(verdicts[0]);
      expect(play).to.include({
        playedAt: Date.parse(at(0)),
        endedAt: Date.parse(at(10 * MINUTE + 71_000)),
        msPlayed: 130_000,
        counted: true,
      });
      expect(play.context).to.include({ reasonEnd: "NATURAL_END_OF_TRACK" });
      expect(play.sourceKey).to.deep.equal(playOf((await ofRows(rows.slice(0, 1)))[0]).sourceKey);
    });

    it("is not one play across another song, a long pause, or after an end that was none", async () => {
      expect((await ofRows(others)).map(outcome)).to.deep.equal(others.map(() => "play"));
    });

    it("is the same whatever the order of the rows, and however often one is written down", async () => {
      const all = [...rows, ...others, ...rows];
      const describe = async (order: readonly number[]) => {
        const verdicts = await ofRows(order.map((index) => all[index]!));
        const found = new Map(order.map((index, place) => [index, verdicts[place]]));
        return all.map((_, index) => found.get(index));
      };
      const inOrder = await describe(all.map((_, index) => index));
      expect(inOrder.slice(0, 4)).to.deep.equal(inOrder.slice(-4));
      for (const step of [2, 4, 7, 11]) {
        const order = all.map((_, index) => (index * step) % all.length);
        expect(await describe(order), `every ${step}th`).to.deep.equal(inOrder);
      }
      expect(await describe(all.map((_, index) => all.length - 1 - index))).to.deep.equal(inOrder);
    });

    it("is held in bounded memory", () => {
      const segments = new Segments(3000);
      const segment = (position: number): Segment => ({
        position,
        kind: "end",
        song: ["", `Song ${position}`, ""],
        startMs: position,
        endMs: position * 1000,
        msPlayed: 1,
        durationMs: null,
        startPosition: null,
        endPosition: null,
        reasonEnd: `REASON_${position}`,
      });
      for (let position = 0; position < 6000; position += 2) segments.add(segment(position));
      expect(() => segments.add(segment(6000))).to.throw(ImportError, "more than 3000 plays");
      segments.join();
      expect(segments.at(5998)).to.include({ role: "whole", endMs: 5_998_000 });
      expect(segments.at(1)).to.equal(undefined);
    });
  });
});

describe("the artist of a row that names none", () => {
  it("is that of title and album in the library, then of the title in one file after the other", () => {
    const names = new ArtistNames();
    names.add("library", "Intro", "First", "Debut");
    names.add("library", "Intro", "Second", "Sequel (Deluxe Edition)");
    names.add("library", "Only Here", "Third", "Any");
    names.add("daily-tracks", "By Day", "Fourth");
    names.add("play-history", "By Day", "Somebody Else");
    names.add("play-history", "Last", "Fifth");
    expect(names.find("INTRO", "debut")).to.deep.equal({ artist: "First", from: "library" });
    expect(names.find("Intro", "Sequel")).to.deep.equal({ artist: "Second", from: "library" });
    expect(names.find("Intro", null)).to.equal(null);
    expect(names.find("Intro", "Third Album")).to.equal(null);
    expect(names.find("only here", "Greatest Hits")).to.deep.equal({ artist: "Third", from: "library" });
    expect(names.find("By Day", null)).to.deep.equal({ artist: "Fourth", from: "daily-tracks" });
    expect(names.find("Last", null)).to.deep.equal({ artist: "Fifth", from: "play-history" });
    names.add("play-history", "Last", "fifth");
    expect(names.find("Last", null)?.artist).to.equal("Fifth");
    names.add("play-history", "Last", "Sixth");
    expect(names.find("Last", null)).to.equal(null);
  });
});

describe("Apple Music's daily tracks", () => {
  it("are as many plays of the day as the row counts, each with a key of its own", async () => {
    const verdicts = await judged(
      appleDaily,
      csv([daily("Band - Song - Live", 3), daily("Band - Never", 0)]),
    );
    expect(verdicts.map(outcome)).to.deep.equal(["play", "play", "play", "not_a_play"]);
    const plays = verdicts.slice(0, 3).map(playOf);
    const date = Date.UTC(2022, 2, 1);
    expect(plays[1]).to.include({
      artist: "Band",
      title: "Song - Live",
      precision: "day",
      playedAt: date + 12 * 60 * MINUTE,
      startEarliest: date - 14 * 60 * MINUTE,
      startLatest: date + 36 * 60 * MINUTE,
      endedAt: null,
      msPlayed: 90_000,
    });
    expect(plays.map(({ sourceKey }) => sourceKey)).to.deep.equal(
      [1, 2, 3].map((ordinal) =>
        appleDailyKey({
          dateMs: date,
          trackIdentifier: "1001",
          description: "Band - Song - Live",
          sourceType: "IPHONE",
          endReasonType: "N/A",
          ordinal,
        }),
      ),
    );
  });

  it("keep a description without an artist, and refuse what cannot be", async () => {
    const verdicts = await judged(
      appleDaily,
      csv([
        daily("Morning Show", 1, { "Date Played": "20220301.0" }),
        daily("", 1),
        daily("Band - Song", 1, { "Date Played": 20_220_230 }),
        daily("Band - Song", 2_000_000_000),
        daily("Band - Song", -1),
        daily("Band - Song", 1, { "Play Count": "" }),
      ]),
    );
    expect(verdicts.map(outcome)).to.deep.equal([
      "play",
      "removed",
      "bad_time",
      "bad_number",
      "bad_number",
      "missing_field",
    ]);
    expect(playOf(verdicts[0])).to.deep.include({
      title: "Morning Show",
      artist: "[unknown]",
      context: { platform: "IPHONE", artistFrom: "unknown" },
    });
  });
});
