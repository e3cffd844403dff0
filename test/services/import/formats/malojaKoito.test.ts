import { expect } from "chai";
import { koitoKey, malojaKey } from "../../../../services/history/sourceKey.js";
import { koito } from "../../../../services/import/formats/koito.js";
import { maloja } from "../../../../services/import/formats/maloja.js";
import { playIn, reasonIn } from "./scrobbleVerdicts.js";

const START = Date.UTC(2025, 4, 5, 8, 40, 10);
const SCROBBLE = {
  time: START / 1000,
  track: {
    artists: ["J.Rio", "Magnify Tokyo"],
    title: "朽ちない冠",
    album: { artists: ["Magnify Tokyo"], albumtitle: "Magnify" },
    length: 200,
  },
  duration: 90,
  origin: "client:default",
};
const ALIASES = (name: string): object => ({
  aliases: [
    { alias: `${name} (old)`, source: "Import", is_primary: false },
    { alias: name, source: "Canonical", is_primary: true },
  ],
});
const LISTEN = {
  listened_at: "2025-05-05T08:40:10Z",
  client: "test client",
  track: { mbid: null, duration: 354, ...ALIASES("Every Wave") },
  album: { mbid: null, ...ALIASES("LP3") },
  artists: [
    { is_primary: false, ...ALIASES("Elizabeth Powell") },
    { is_primary: true, ...ALIASES("American Football") },
  ],
};

describe("a scrobble of Maloja", () => {
  it("becomes a play of the artist of the album, keyed by all artists in any order", () => {
    const artists = ["Magnify Tokyo", "J.Rio"];
    expect(playIn(maloja, SCROBBLE)).to.deep.equal({
      source: "maloja",
      sourceKey: malojaKey({ scrobbledMs: START, artists, title: "朽ちない冠" }),
      playedAt: START,
      endedAt: null,
      startEarliest: START - 5000,
      startLatest: START + 5000,
      precision: "second",
      msPlayed: 90_000,
      durationMs: 200_000,
      counted: false,
      title: "朽ちない冠",
      artist: "Magnify Tokyo",
      album: "Magnify",
      trackId: null,
      context: null,
    });
    const bare = {
      ...SCROBBLE,
      duration: null,
      track: { artists, title: "朽ちない冠", album: null, length: null },
    };
    expect(playIn(maloja, bare)).to.include({ artist: "Magnify Tokyo", album: null, counted: true });
    expect(playIn(maloja, bare).sourceKey).to.deep.equal(playIn(maloja, SCROBBLE).sourceKey);
  });

  it("is refused for what is missing or wrong, by reason", () => {
    const { track } = SCROBBLE;
    expect(reasonIn(maloja, null)).to.equal("rejected: malformed");
    expect(reasonIn(maloja, { ...SCROBBLE, time: "x" })).to.equal("rejected: bad_time");
    expect(reasonIn(maloja, { ...SCROBBLE, track: { ...track, artists: [] } })).to.equal(
      "rejected: missing_field",
    );
    expect(reasonIn(maloja, { ...SCROBBLE, track: { ...track, artists: [7] } })).to.equal(
      "rejected: malformed",
    );
    expect(reasonIn(maloja, { ...SCROBBLE, track: { ...track, title: null } })).to.equal(
      "rejected: missing_field",
    );
    expect(reasonIn(maloja, { ...SCROBBLE, track: 5 })).to.equal("rejected: missing_field");
    expect(maloja.excerpt(SCROBBLE)).not.to.contain("client:default");
  });
});

describe("a listen of Koito", () => {
  it("becomes a play under its primary names", () => {
    const named = { artist: "American Football", title: "Every Wave" };
    expect(playIn(koito, LISTEN)).to.deep.equal({
      source: "koito",
      sourceKey: koitoKey({ listenedAtMs: START, ...named }),
      playedAt: START,
      endedAt: null,
      startEarliest: START - 5000,
      startLatest: START + 5000,
      precision: "second",
      msPlayed: null,
      durationMs: 354_000,
      counted: true,
      ...named,
      album: "LP3",
      trackId: null,
      context: { platform: "test client" },
    });
    const mbid = "d0ec30bd-7cdc-417c-979d-5a0631b8a161";
    const offset = {
      ...LISTEN,
      listened_at: "2025-05-05T10:40:10.25+02:00",
      client: null,
      track: { ...LISTEN.track, mbid },
    };
    expect(playIn(koito, offset)).to.deep.include({
      playedAt: START + 250,
      trackId: { provider: "musicbrainz", id: mbid },
      context: null,
    });
  });

  it("is refused for what is missing or wrong, by reason", () => {
    expect(reasonIn(koito, 1)).to.equal("rejected: malformed");
    expect(reasonIn(koito, { ...LISTEN, listened_at: "2025-05-05" })).to.equal("rejected: bad_time");
    expect(reasonIn(koito, { ...LISTEN, artists: [] })).to.equal("rejected: missing_field");
    expect(reasonIn(koito, { ...LISTEN, artists: "x" })).to.equal("rejected: missing_field");
    expect(reasonIn(koito, { ...LISTEN, track: { aliases: [] } })).to.equal("rejected: missing_field");
    expect(JSON.parse(koito.excerpt(LISTEN))).to.deep.equal({
      listened_at: LISTEN.listened_at,
      track: "Every Wave",
      artist: "American Football",
      album: "LP3",
    });
  });
});
