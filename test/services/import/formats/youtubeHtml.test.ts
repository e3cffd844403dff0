import { expect } from "chai";
import { Readable } from "node:stream";
import { youtubeHtml } from "../../../../services/import/formats/youtubeHtml.js";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { readRecords } from "../../../../services/import/reading/records.js";
import type { PartContext, Play, RawRecord, Verdict } from "../../../../services/import/types.js";
import { ImportError } from "../../../../services/import/verdicts.js";
import { inPieces } from "../reading/support.js";
import { cell, entry, page, videoId, videoUrl } from "./youtubeSamples.js";

const CONTEXT: PartContext = { name: "x.html", includeIncognito: false, now: Date.UTC(2026, 0, 1) };
const RECORD_BYTES = 64 * 1024;

interface ReadPage {
  readonly records: RawRecord[];
  readonly error: string | null;
}

async function read(stream: Readable, recordMaxBytes = RECORD_BYTES): Promise<ReadPage> {
  const records: RawRecord[] = [];
  try {
    for await (const chunk of readRecords(stream, { format: youtubeHtml, recordMaxBytes }))
      records.push(...chunk.records);
    return { records, error: null };
  } catch (error) {
    if (!(error instanceof ImportError)) throw error;
    return { records, error: error.code };
  }
}

/** Verdicts on the entries of one page. */
async function judgePage(entries: readonly string[]): Promise<Verdict[]> {
  const { records, error } = await read(Readable.from([page(entries)]));
  expect(error).to.equal(null);
  const surveyor = youtubeHtml.survey?.begin(CONTEXT.now);
  if (surveyor === undefined) throw new Error("the format has no survey");
  for (const { value, position } of records) surveyor.see(value, position);
  const judge = surveyor.finish();
  return records.map(({ value, position }) => judge(value, CONTEXT, position));
}

async function playOf(...entries: readonly string[]): Promise<Play> {
  const [verdict] = await judgePage(entries);
  if (verdict?.verdict !== "play") throw new Error(`expected a play, got ${JSON.stringify(verdict)}`);
  return verdict.play;
}

const summaries = async (entries: readonly string[]): Promise<string[]> =>
  (await judgePage(entries)).map((verdict) =>
    verdict.verdict === "play" ? `${verdict.play.artist} / ${verdict.play.title}` : verdict.reason,
  );

const MINUTE = 60_000;

describe("YouTube history as a web page", () => {
  it("gives the play of an entry, with its key, its id and what is known of its time", async () => {
    const play = await playOf(entry());
    const at = Date.parse("2022-04-25T18:09:04Z");
    expect({ ...play, sourceKey: play.sourceKey.toString("hex") }).to.deep.equal({
      source: "youtube-html",
      // Computed by another program from the rules in docs/adr/0004.
      sourceKey: "6266e3c0f58d4fa0742555c09de86e24",
      playedAt: at,
      endedAt: null,
      startEarliest: at - 2000,
      startLatest: at + 2999,
      precision: "second",
      msPlayed: null,
      durationMs: null,
      counted: true,
      title: "Solar & co",
      artist: "Sault",
      album: null,
      trackId: { provider: "youtube", id: videoId(0) },
      context: null,
    });
  });

  it("skips what is no play of music for the reasons that the JSON has", async () => {
    expect(
      await summaries([
        entry({ header: "YouTube", title: "Judas", channel: "Lady Gaga - Topic" }),
        entry({ header: "YouTube", channel: "Somebody" }),
        entry({ header: "YouTube", title: "A - B", channel: "C", url: videoUrl(1, "music.youtube.com") }),
        entry({ details: ["From Google Ads"] }),
        entry({ title: videoUrl(2), url: videoUrl(2), channel: "" }),
        entry({ title: "a video that has been removed", url: "", channel: "" }),
        entry({ url: "https://www.youtube.com/post/Ugkx" }),
        cell(
          "YouTube",
          "Searched for <a href='https://www.youtube.com/results?q=x'>x</a><br>Apr 25, 2022, 6:09:04 PM UTC<br>",
        ),
        cell("YouTube", "Used Shorts creation tools<br>Apr 25, 2022, 6:09:04 PM UTC<br>"),
      ]),
    ).to.deep.equal([
      "Lady Gaga / Judas",
      "not_music",
      "A / B",
      "ad",
      "removed",
      "removed",
      "not_a_play",
      "not_a_play",
      "not_a_play",
    ]);
  });

  it("reads dates as English accounts have had them, and says how far a zone's name leaves them open", async () => {
    const cases: readonly (readonly [string, string, number, number])[] = [
      ["Jan 13, 2024, 4:16:16\u202fPM TRT", "2024-01-13T13:16:16Z", 0, 0],
      ["Jan 13, 2017, 12:16:16 AM", "2017-01-13T00:16:16Z", 0, 0],
      ["29 Nov 2021, 18:06:16 AEDT", "2021-11-29T07:06:16Z", 0, 60],
      ["15 Jan 2022, 12:00:00 BST", "2022-01-15T11:00:00Z", 0, 60],
      ["15 Jul 2022, 12:00:00 GMT", "2022-07-15T12:00:00Z", 60, 0],
      ["11 Oct 2025, 04:51:03 GMT+05:30", "2025-10-10T23:21:03Z", 0, 0],
      ["11 Oct 2025, 04:51:03 GMT-7", "2025-10-11T11:51:03Z", 60, 60],
      ["11 Oct 2025, 04:51:03 IST", "2025-10-10T23:21:03Z", 0, 270],
    ];
    for (const [time, expected, earlier, later] of cases) {
      const play = await playOf(entry({ time }));
      const at = Date.parse(expected);
      expect([play.playedAt, play.startEarliest, play.startLatest], time).to.deep.equal([
        at,
        at - 2000 - earlier * MINUTE,
        at + 2999 + later * MINUTE,
      ]);
    }
  });

  it("reads dates of other languages, the language told by all the dates of a page", async () => {
    for (const time of [
      "13.01.2024, 16:16:16 MEZ",
      "13 janv. 2024, 16:16:16 UTC+1",
      "13 janv. 2024 à 16:16:16 CET",
      "13 ene 2024, 16:16:16 CET",
      "13 gen 2024, 16:16:16 CET",
      "13 de jan. de 2024, 12:16:16 BRT",
      "13 sty 2024, 16:16:16 CET",
      "13 янв. 2024 г., 18:16:16 GMT+3",
      "13 Oca 2024 18:16:16 TRT",
      "2024/01/14 0:16:16 JST",
      "2024年1月13日 GMT+8 23:16:16",
      "2024年1月13日 CST 23:16:16",
      "2024. 1. 14. 오전 12:16:16 GMT+9",
    ])
      expect(new Date((await playOf(entry({ time }))).playedAt).toISOString(), time).to.equal(
        "2024-01-13T15:16:16.000Z",
      );
    // What is October in Croatian is November in Polish.
    const polish = ["1 lis 2023, 10:00:00 CET", "1 wrz 2023, 10:00:00 CET", "1 sie 2023, 10:00:00 CET"];
    const [first] = await judgePage(polish.map((time) => entry({ time })));
    expect(first?.verdict === "play" && new Date(first.play.playedAt).getUTCMonth()).to.equal(10);
  });

  it("refuses dates of languages it cannot read, with advice, and dates and zones that do not exist", async () => {
    const good = entry();
    const times = [
      "13 ינו׳ 2024, 16:16:16 UTC",
      "Feb 30, 2022, 6:09:04 PM UTC",
      "Apr 25, 2022, 6:09:04 PM XYZ",
    ];
    const verdicts = await judgePage([...times.map((time) => entry({ time })), good]);
    expect(
      verdicts.map((verdict) => (verdict.verdict === "rejected" ? verdict.reason : "play")),
    ).to.deep.equal(["unsupported_locale", "unsupported_locale", "bad_time", "play"]);
    for (const verdict of verdicts.slice(0, 3))
      expect(verdict.verdict === "rejected" && verdict.message).to.include("choose JSON");
    expect(await summaries([entry({ time: "Apr 25, 1999, 6:09:04 PM UTC" })])).to.deep.equal([
      "time_out_of_range",
    ]);
  });

  it("finds the same entries wherever the bytes are cut, in the middle of characters and tags too", async () => {
    const bytes = page([
      entry({ title: "日本 &lt;x&gt; – ä" }),
      entry({ title: "B", url: videoUrl(1) }),
      entry(),
    ]);
    const whole = await read(Readable.from([bytes]));
    expect(whole.records).to.have.length(3);
    expect(JSON.stringify(whole.records[0])).to.include("日本 <x> – ä");
    for (const size of [1, 7, 1000])
      expect(await read(inPieces(bytes, size)), `${size}`).to.deep.equal(whole);
  });

  it("gives what is whole of a page that is cut short, and refuses entries and tags that are too large alone", async () => {
    const cut = page([entry(), entry()], "").subarray(0, -40);
    const { records, error } = await read(Readable.from([cut]));
    expect([records.length, error]).to.deep.equal([1, "file_truncated"]);
    expect((await read(Readable.from([page([entry()], "")]))).error).to.equal("file_truncated");

    const large = await read(
      Readable.from([page([entry(), entry({ title: "x".repeat(5000) }), entry()])]),
      4000,
    );
    expect(large.records.map((record) => ("reason" in record ? record.reason : "read"))).to.deep.equal([
      "read",
      "too_long",
      "read",
    ]);
    const tag = Buffer.from(`<html><div class="${"x".repeat(3 * 1024 ** 2)}`);
    expect((await read(inPieces(tag, 64 * 1024))).error).to.equal("entry_corrupt");
    const deep = page([entry(), "<div>".repeat(2000), entry()]);
    for (const size of [100, deep.length]) {
      const found = await read(inPieces(deep, size));
      expect([found.records.length, found.error]).to.deep.equal([1, "entry_corrupt"]);
    }
    expect((await read(Readable.from([Buffer.from("[1]")]))).error).to.equal("unrecognised_format");
    expect((await read(Readable.from([]))).error).to.equal("empty_file");
  });

  it("is known by content; pages of other products and any other page are not", async () => {
    const detect = async (bytes: Buffer): Promise<string> => {
      const open = (): Promise<Readable> => Promise.resolve(inPieces(bytes, 16 * 1024));
      const found = await detectFormat({ index: 0, name: "x", sizeBytes: bytes.length, problem: null, open });
      return found.format === undefined ? found.skipped : found.format.name;
    };
    expect(await detect(page([entry()]))).to.equal("youtube-html");
    expect(await detect(page([cell("Maps", "Used Maps<br>Apr 25, 2022, 6:09:04 PM UTC<br>")]))).to.equal(
      "unrecognised_format",
    );
    expect(await detect(page([]))).to.equal("unrecognised_format");
  });
});
