import { expect } from "chai";
import { createHash } from "node:crypto";
import {
  appleDailyKey,
  appleExportKey,
  appleLiveKey,
  exportedKey,
  koitoKey,
  lastfmKey,
  listenbrainzKey,
  malojaKey,
  manualKey,
  spotifyAccountKey,
  spotifyExtendedKey,
  spotifyLiveKey,
  youtubeKey,
} from "../../../services/history/sourceKey.js";

const at = Date.UTC(2024, 10, 28, 16, 5, 23, 456);
const names = { artist: "Kendrick Lamar", title: "gloria (with sza)" };
const uri = "spotify:track:0wgOhYnqZKjOHr6bmdz0aN";
const video = { openedMs: at, channel: "Kendrick Lamar - Topic", title: names.title };

/** Computed by another program from the rules in docs/adr/0004. They never change: stored rows carry such keys. */
const VECTORS: readonly (readonly [string, Buffer, string])[] = [
  [
    "spotify-extended",
    spotifyExtendedKey({ ...names, endMs: at, uri, msPlayed: 725 }),
    "674894c3abae5bed824682196a70c4b3",
  ],
  [
    "spotify-extended without an id",
    spotifyExtendedKey({ ...names, endMs: at, uri: null, msPlayed: 725 }),
    "674894c3a1815c2598e2d8dc556aa78e",
  ],
  [
    "spotify-account",
    spotifyAccountKey({ ...names, endMs: at, msPlayed: 725 }),
    "674894ac2b35e6ee253f32abd8af00ca",
  ],
  ["spotify-live", spotifyLiveKey({ playedAtMs: at, uri }), "674894c33740787e1e27dad68b560826"],
  [
    "apple-export, modern: no artist",
    appleExportKey({ eventMs: at, artist: null, title: names.title, album: "GNX", msPlayed: 725 }),
    "674894c3bcda029fcda288b53a360e76",
  ],
  [
    "apple-export, a start without duration",
    appleExportKey({ ...names, eventMs: at, album: null, msPlayed: null }),
    "674894c37b1898d5005f647613b91431",
  ],
  [
    "apple-daily",
    appleDailyKey({
      dateMs: at,
      trackIdentifier: "1781270323",
      description: "Kendrick Lamar - gloria (with sza)",
      sourceType: "ORIGINATING_DEVICE",
      endReasonType: "NATURAL_END_OF_TRACK",
      ordinal: 1,
    }),
    "6747b2802d5de96f3fd7d0eadd370d9e",
  ],
  [
    "apple-live",
    appleLiveKey({ polledAtMs: at, songId: "1781270323", place: 0 }),
    "674894c3570fa494e534db9c6ba3ed1a",
  ],
  [
    "youtube-json",
    youtubeKey("youtube-json", { ...video, videoId: "dQw4w9WgXcQ" }),
    "674894c35c77f93f96dfad64ee94f81b",
  ],
  [
    "youtube-json without an id",
    youtubeKey("youtube-json", { ...video, videoId: null }),
    "674894c34b6dc8fc5876b601a2d7c749",
  ],
  [
    "youtube-html",
    youtubeKey("youtube-html", { ...video, videoId: "dQw4w9WgXcQ" }),
    "674894c34bec196f0509549e7943fc87",
  ],
  [
    "listenbrainz",
    listenbrainzKey({ ...names, listenedAtMs: at, recordingMsid: "bde2bf4a-5b84-4a3a-9c5a-6b9a5a1c3f10" }),
    "674894c3d18eb2146325b7d8399647f2",
  ],
  [
    "listenbrainz without an id",
    listenbrainzKey({ ...names, listenedAtMs: at, recordingMsid: null }),
    "674894c3124410a9f10fe0f77afcf944",
  ],
  ["lastfm", lastfmKey("lastfm", { ...names, scrobbledMs: at }), "674894c3d66f6c065a57dd3c776f62c8"],
  [
    "lastfm-minute",
    lastfmKey("lastfm-minute", { ...names, scrobbledMs: at }),
    "674894ac4e7e8ee97f1532e66b5b5aa0",
  ],
  [
    "maloja",
    malojaKey({ scrobbledMs: at, artists: ["SZA", "Kendrick Lamar"], title: names.title }),
    "674894c37733f8c67420c93ecfa353f4",
  ],
  ["koito", koitoKey({ ...names, listenedAtMs: at }), "674894c315b9c5605634d24a0814cb88"],
  ["manual", manualKey({ ...names, playedAtMs: at }), "674894c32aa662a2e0e688136587c557"],
];

const key = (changes: Partial<Parameters<typeof spotifyExtendedKey>[0]>): string =>
  spotifyExtendedKey({ ...names, endMs: at, uri: null, msPlayed: 725, ...changes }).toString("hex");

describe("the identity of a source row", () => {
  for (const [name, actual, expected] of VECTORS) {
    it(`is frozen for ${name}`, () => {
      expect(actual.toString("hex")).to.equal(expected);
    });
  }

  it("differs between any two families, ids and names", () => {
    expect(new Set(VECTORS.map(([, actual]) => actual.toString("hex"))).size).to.equal(VECTORS.length);
  });

  it("begins with the second, so that keys of one time lie together", () => {
    const bytes = Buffer.from(key({}), "hex");
    expect(bytes).to.have.length(16);
    expect(bytes.readUInt32BE(0)).to.equal(Math.floor(at / 1000));
  });

  it("is the same for composed and decomposed text, and with spaces around it", () => {
    const composed = key({ artist: "Bj\u00f6rk", title: "J\u00f3ga" });
    expect(key({ artist: "Bjo\u0308rk", title: "Jo\u0301ga" })).to.equal(composed);
    expect(key({ artist: " Bj\u00f6rk\u00a0", title: "\tJ\u00f3ga\n" })).to.equal(composed);
    expect(key({ artist: "Bjork", title: "Joga" })).to.not.equal(composed);
    expect(key({ artist: "bj\u00f6rk", title: "j\u00f3ga" }), "names are not folded").to.not.equal(composed);
  });

  it("takes a lone surrogate for what is stored in its place", () => {
    expect(key({ title: "a\ud83d" })).to.equal(key({ title: "a\ufffd" }));
    expect(key({ title: "a\ud83d\ude00" })).to.not.equal(key({ title: "a\ufffd\ufffd" }));
  });

  it("tells two tracks in one second, two seconds, and two lengths apart", () => {
    const all = [
      key({}),
      key({ title: "luther" }),
      key({ endMs: at + 1000 }),
      key({ msPlayed: 726 }),
      key({ uri }),
    ];
    expect(new Set(all).size).to.equal(all.length);
  });

  it("does not depend on what the family's precision cuts off", () => {
    expect(key({ endMs: at + 500 })).to.equal(key({}));
    const account = (endMs: number): string =>
      spotifyAccountKey({ ...names, endMs, msPlayed: 1 }).toString("hex");
    expect(account(at + 30_000)).to.equal(account(at));
    const live = (playedAtMs: number): string => spotifyLiveKey({ playedAtMs, uri }).toString("hex");
    expect(live(at + 1)).to.not.equal(live(at));
  });

  it("does not let names run into each other", () => {
    expect(key({ artist: "a", title: 'b","c' })).to.not.equal(key({ artist: 'a","b', title: "c" }));
  });

  it("follows the written rule at any time, whatever the row before was", () => {
    const day = 86_400_000;
    for (const playedAtMs of [
      0,
      999,
      day - 1,
      day,
      at,
      5 * day + 3_600_000,
      Date.UTC(2024, 1, 29, 23, 59, 59, 7),
      at,
    ]) {
      const text = JSON.stringify(["v1", "spotify-live", new Date(playedAtMs).toISOString(), uri, null]);
      const hash = createHash("sha256").update(text).digest("hex").slice(0, 24);
      expect(spotifyLiveKey({ playedAtMs, uri }).toString("hex").slice(8), text).to.equal(hash);
    }
  });

  it("ignores the order in which Maloja lists artists", () => {
    const maloja = (artists: string[]): string =>
      malojaKey({ scrobbledMs: at, artists, title: "x" }).toString("hex");
    expect(maloja(["b", "a"])).to.equal(maloja(["a", "b "]));
    expect(maloja(["ab"])).to.not.equal(maloja(["a", "b"]));
  });

  it("numbers the plays of one Apple day", () => {
    const day = { dateMs: at, trackIdentifier: "1", description: "x", sourceType: "", endReasonType: "" };
    expect(appleDailyKey({ ...day, ordinal: 1 })).to.not.deep.equal(appleDailyKey({ ...day, ordinal: 2 }));
  });

  it("is read back from playlog's own export", () => {
    expect(exportedKey("674894c3abae5bed824682196a70c4b3")?.toString("hex")).to.equal(VECTORS[0]?.[2]);
    expect(exportedKey("674894c3")).to.equal(null);
    expect(exportedKey("x".repeat(32))).to.equal(null);
  });
});
