import { expect } from "chai";
import { Readable } from "node:stream";
import { lastfmKey } from "../../../../services/history/sourceKey.js";
import {
  lastfmCsv,
  lastfmMinuteCsv,
  lastfmOffsetCsv,
  lastfmPages,
  lastfmStats,
} from "../../../../services/import/formats/lastfm.js";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { playIn, reasonIn } from "./scrobbleVerdicts.js";

const START = Date.UTC(2024, 6, 11, 9, 7, 32);
const NAMES = { artist: "The Cure", title: "Primary" };
const KEY = lastfmKey("lastfm", { scrobbledMs: START, ...NAMES });

const API = {
  artist: { mbid: "69ee3720-a7cb-4402-b48d-a02c366f2bcf", "#text": "The Cure" },
  album: { mbid: "", "#text": "Faith" },
  name: "Primary",
  mbid: "58900088-3e21-41d5-a2f6-44f3c34e056b",
  date: { uts: String(START / 1000), "#text": "11 Jul 2024, 09:07" },
};
const ROW = { artist: "The Cure", album: "Faith", track: "Primary" };

async function formatOf(text: string): Promise<string> {
  const found = await detectFormat({
    index: 0,
    name: "export",
    sizeBytes: text.length,
    problem: null,
    open: () => Promise.resolve(Readable.from([Buffer.from(text)])),
  });
  return found.format?.name ?? found.skipped ?? "";
}

describe("a scrobble of Last.fm", () => {
  it("is the same play in JSON of the API, JSON of statistics, CSV of Unix times and CSV with offsets", () => {
    const play = {
      source: "lastfm",
      sourceKey: KEY,
      playedAt: START,
      endedAt: null,
      startEarliest: START - 5000,
      startLatest: START + 5000,
      precision: "second",
      msPlayed: null,
      durationMs: null,
      counted: true,
      ...NAMES,
      album: "Faith",
      trackId: null,
      context: null,
    };
    expect(playIn(lastfmPages, API)).to.deep.equal(play);
    expect(playIn(lastfmStats, { ...ROW, date: START })).to.deep.equal(play);
    expect(playIn(lastfmCsv, { ...ROW, uts: String(START / 1000) })).to.deep.equal(play);
    for (const ts of ["2024-07-11 12:07:32+03:00", "2024-07-11T04:37:32-0430", "2024-07-11T09:07:32Z"])
      expect(playIn(lastfmOffsetCsv, { ...ROW, ts }), ts).to.deep.equal(play);
    expect(
      playIn(lastfmPages, { ...API, artist: { name: "The Cure" }, album: { "#text": "" } }),
    ).to.deep.equal({
      ...play,
      album: null,
    });
  });

  it("is known to the minute only where the file says no more, and has a key of its own then", () => {
    const minute = Date.UTC(2014, 4, 22, 20, 11);
    const play = playIn(lastfmMinuteCsv, { ...ROW, date: "22 May 2014 20:11" });
    expect(play).to.deep.include({
      source: "lastfm-minute",
      sourceKey: lastfmKey("lastfm-minute", { scrobbledMs: minute, ...NAMES }),
      playedAt: minute,
      startEarliest: minute,
      startLatest: minute + 59_999,
      precision: "minute",
    });
  });

  it("is skipped while it is playing", () => {
    const { date: _, ...playing } = API;
    expect(reasonIn(lastfmPages, { ...playing, "@attr": { nowplaying: "true" } })).to.equal(
      "skipped: now_playing",
    );
    expect(reasonIn(lastfmPages, playing)).to.equal("skipped: now_playing");
    expect(reasonIn(lastfmCsv, { ...ROW, uts: "" })).to.equal("skipped: now_playing");
    expect(reasonIn(lastfmMinuteCsv, { ...ROW, date: " " })).to.equal("skipped: now_playing");
  });

  it("is refused for what is missing or wrong, by reason", () => {
    expect(reasonIn(lastfmPages, [])).to.equal("rejected: malformed");
    expect(reasonIn(lastfmPages, { ...API, date: { uts: "x" } })).to.equal("rejected: bad_time");
    // A lost clock.
    expect(reasonIn(lastfmPages, { ...API, date: { uts: "0" } })).to.equal("rejected: time_out_of_range");
    expect(reasonIn(lastfmStats, { ...ROW, track: "", date: START })).to.equal("rejected: missing_field");
    expect(reasonIn(lastfmCsv, { ...ROW, artist: "", uts: "1720688852" })).to.equal(
      "rejected: missing_field",
    );
    for (const ts of [
      "2024-07-11 12:07:32",
      "2024-02-30 12:07:32+03:00",
      "2024-07-11 12:07:32+24:00",
      "yesterday",
    ])
      expect(reasonIn(lastfmOffsetCsv, { ...ROW, ts }), ts).to.equal("rejected: bad_time");
    for (const date of ["31 Jun 2014 20:11", "22 Mai 2014 20:11", "22 May 2014 24:00"])
      expect(reasonIn(lastfmMinuteCsv, { ...ROW, date }), date).to.equal("rejected: bad_time");
  });

  it("is found by content in every kind of file", async () => {
    const one = JSON.stringify(API);
    expect(await formatOf(`[{"track":[${one}]},{"track":[]}]`)).to.equal("lastfm-pages");
    expect(await formatOf(`{"track":[${one}]}`)).to.equal("lastfm-pages");
    expect(await formatOf(`{"recenttracks":{"@attr":{"page":"1"},"track":${one}}}`)).to.equal("lastfm-pages");
    expect(await formatOf(`[${one}]`)).to.equal("lastfm-list");
    const stats = JSON.stringify({ username: "x", scrobbles: [{ ...ROW, date: START }] }, null, 2);
    expect(await formatOf(stats)).to.equal("lastfm-stats");
    expect(
      await formatOf("uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\n1,,a,,b,,c,\n"),
    ).to.equal("lastfm-csv");
    expect(await formatOf("album,track,artist,ts\n1,2,3,4\n")).to.equal("lastfm-offset-csv");
    expect(await formatOf('"Crosby, Stills",Album,Title,22 May 2014 20:11\n')).to.equal("lastfm-minute-csv");
    // One page of a long history is larger than a record may be.
    const page = `{"track":[${Array.from({ length: 500 }, () => one).join()}]}`;
    expect(await formatOf(`[${page},${page}]`)).to.equal("lastfm-pages");
    expect(await formatOf('[{"track":[]}]')).to.equal("unrecognised_format");
    expect(await formatOf("a,b,c,22 May 2014\n")).to.equal("unrecognised_format");
  });
});
