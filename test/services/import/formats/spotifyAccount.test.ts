import { expect } from "chai";
import { spotifyAccount } from "../../../../services/import/formats/spotifyAccount.js";
import { spotifyAccountKey } from "../../../../services/history/sourceKey.js";
import type { PartContext, Play, Verdict } from "../../../../services/import/types.js";

const CONTEXT: PartContext = { name: "x.json", includeIncognito: false, now: Date.UTC(2026, 0, 1) };
const ROW = {
  endTime: "2023-01-14 01:24",
  artistName: "Fred Hersch",
  trackName: "Some Other Time",
  msPlayed: 75_928,
};
const END = Date.UTC(2023, 0, 14, 1, 24);

const judge = (record: object): Verdict => spotifyAccount.judge(record, CONTEXT);

function play(changes: object = {}): Play {
  const verdict = judge({ ...ROW, ...changes });
  if (verdict.verdict !== "play") throw new Error(`expected a play, got ${JSON.stringify(verdict)}`);
  return verdict.play;
}

function reason(record: object): string {
  const verdict = judge(record);
  return verdict.verdict === "play" ? "play" : `${verdict.verdict}: ${verdict.reason}`;
}

describe("a row of Spotify's account data", () => {
  it("becomes a play whose start lies in a minute, or earlier by pauses", () => {
    expect(play()).to.deep.equal({
      source: "spotify-account",
      sourceKey: spotifyAccountKey({
        endMs: END,
        artist: "Fred Hersch",
        title: "Some Other Time",
        msPlayed: 75_928,
      }),
      playedAt: END - 75_928,
      endedAt: END,
      startEarliest: END - 75_928 - 600_000,
      startLatest: END - 75_928 + 59_999,
      precision: "minute",
      msPlayed: 75_928,
      durationMs: null,
      counted: true,
      title: "Some Other Time",
      artist: "Fred Hersch",
      album: null,
      trackId: null,
      context: null,
    });
    expect(play({ msPlayed: 0 })).to.include({ msPlayed: 0, counted: false, playedAt: END });
  });

  it("is skipped when it is a podcast, an audiobook or gone", () => {
    const { endTime, msPlayed } = ROW;
    expect(reason({ endTime, msPlayed, podcastName: "P", episodeName: "E" })).to.equal("skipped: podcast");
    expect(
      reason({ endTime: "x", msPlayed, audiobookName: "B", chapterName: "C", authorName: "A" }),
    ).to.equal("skipped: audiobook");
    expect(reason({ ...ROW, artistName: "Unknown Artist", trackName: "Unknown Track" })).to.equal(
      "skipped: removed",
    );
    expect(reason({ ...ROW, endTime: "x", artistName: "", trackName: null })).to.equal("skipped: removed");
    expect(reason({ ...ROW, artistName: "Unknown artist" })).to.equal("play");
  });

  it("is a play in a file named video too", () => {
    expect(spotifyAccount.judge(ROW, { ...CONTEXT, name: "Video.json" }).verdict).to.equal("play");
  });

  it("is refused for what it lacks or garbles", () => {
    for (const endTime of [
      "",
      null,
      "2023-02-29 01:24",
      "2023-01-14T01:24",
      "2023-01-14 01:24:00",
      "2023-01-14 24:00",
    ]) {
      expect(reason({ ...ROW, endTime }), String(endTime)).to.equal("rejected: bad_time");
    }
    expect(reason({ ...ROW, endTime: "1999-12-31 23:59" })).to.equal("rejected: time_out_of_range");
    expect(reason({ ...ROW, endTime: "2026-01-02 00:01" })).to.equal("rejected: time_out_of_range");
    expect(reason({ ...ROW, msPlayed: -1 })).to.equal("rejected: bad_number");
    expect(reason({ ...ROW, trackName: undefined })).to.equal("rejected: missing_field");
    expect(reason({ ...ROW, artistName: "\u0000" })).to.equal("rejected: text_nul");
    expect(reason({ ...ROW, artistName: "x".repeat(4097) })).to.equal("rejected: too_long");
    expect(reason([])).to.equal("rejected: malformed");
  });

  it("is shown in the ledger with the fields of its kind", () => {
    expect(spotifyAccount.excerpt({ ...ROW, email: "a@b.c" })).to.equal(
      '{"endTime":"2023-01-14 01:24","msPlayed":75928,"artistName":"Fred Hersch","trackName":"Some Other Time"}',
    );
  });
});
