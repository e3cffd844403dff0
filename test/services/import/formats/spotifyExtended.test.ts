import { expect } from "chai";
import { spotifyExtended } from "../../../../services/import/formats/spotifyExtended.js";
import { spotifyExtendedKey } from "../../../../services/history/sourceKey.js";
import type { PartContext, Play, Verdict } from "../../../../services/import/types.js";

const NOW = Date.UTC(2026, 0, 1);
const CONTEXT: PartContext = {
  name: "Streaming_History_Audio_2024_0.json",
  includeIncognito: false,
  now: NOW,
};

/** A row of the newest generation with all 23 keys. */
const ROW = {
  ts: "2024-11-28T16:11:57Z",
  platform: "ios",
  ms_played: 171_498,
  conn_country: "NL",
  ip_addr: "192.0.2.7",
  master_metadata_track_name: "Hey Jane",
  master_metadata_album_artist_name: "Tyler, The Creator",
  master_metadata_album_album_name: "CHROMAKOPIA",
  spotify_track_uri: "spotify:track:3Umj02ZNl4d356pS1D38mn",
  episode_name: null,
  episode_show_name: null,
  spotify_episode_uri: null,
  audiobook_title: null,
  audiobook_uri: null,
  audiobook_chapter_uri: null,
  audiobook_chapter_title: null,
  reason_start: "trackdone",
  reason_end: "fwdbtn",
  shuffle: true,
  skipped: true,
  offline: false,
  offline_timestamp: 1_732_810_140,
  incognito_mode: false,
};
const END = Date.UTC(2024, 10, 28, 16, 11, 57);
const NO_TRACK = {
  master_metadata_track_name: null,
  master_metadata_album_artist_name: null,
  master_metadata_album_album_name: null,
  spotify_track_uri: null,
};

const judge = (changes: object = {}, context: Partial<PartContext> = {}): Verdict =>
  spotifyExtended.judge({ ...ROW, ...changes }, { ...CONTEXT, ...context });

function play(changes: object = {}, context: Partial<PartContext> = {}): Play {
  const verdict = judge(changes, context);
  if (verdict.verdict !== "play") throw new Error(`expected a play, got ${JSON.stringify(verdict)}`);
  return verdict.play;
}

const reason = (changes: object = {}, context: Partial<PartContext> = {}): string => {
  const verdict = judge(changes, context);
  return verdict.verdict === "play" ? "play" : `${verdict.verdict}: ${verdict.reason}`;
};

describe("a row of Spotify's extended streaming history", () => {
  it("becomes a play with everything the row knows and nothing personal", () => {
    expect(play({ username: "jane", user_agent_decrypted: "Mozilla" })).to.deep.equal({
      source: "spotify-extended",
      sourceKey: spotifyExtendedKey({
        endMs: END,
        uri: "spotify:track:3Umj02ZNl4d356pS1D38mn",
        artist: "Tyler, The Creator",
        title: "Hey Jane",
        msPlayed: 171_498,
      }),
      playedAt: 1_732_810_140_000,
      endedAt: END,
      startEarliest: 1_732_810_138_000,
      startLatest: 1_732_810_142_000,
      precision: "second",
      msPlayed: 171_498,
      durationMs: null,
      counted: true,
      title: "Hey Jane",
      artist: "Tyler, The Creator",
      album: "CHROMAKOPIA",
      trackId: { provider: "spotify", id: "3Umj02ZNl4d356pS1D38mn" },
      context: {
        platform: "ios",
        country: "NL",
        reasonStart: "trackdone",
        reasonEnd: "fwdbtn",
        shuffle: true,
        skipped: true,
        offline: false,
        incognito: false,
      },
    });
  });

  it("leaves out of the context what the source does not know", () => {
    const unknown = {
      platform: "",
      conn_country: "ZZ",
      reason_start: "unknown",
      reason_end: undefined,
      shuffle: null,
      skipped: null,
      offline: "",
      incognito_mode: "",
    };
    expect(play(unknown).context).to.equal(null);
    expect(play({ ...unknown, conn_country: "nl", platform: "a\u0000b", shuffle: 1 }).context).to.equal(null);
    expect(play({ ...unknown, shuffle: false }).context).to.deep.equal({ shuffle: false });
  });

  describe("tells its start", () => {
    const start = (changes: object): number[] => {
      const { playedAt, startEarliest, startLatest } = play(changes);
      return [playedAt - END, startEarliest - playedAt, startLatest - playedAt];
    };
    const derived = [-171_498, -602_000, 2000];
    const exact = (ms: number): number[] => [ms, -2000, 2000];

    it("by offline_timestamp in seconds or milliseconds, pauses included", () => {
      expect(start({ offline_timestamp: END / 1000 - 500 })).to.deep.equal(exact(-500_000));
      expect(start({ offline_timestamp: END - 171_900 })).to.deep.equal(exact(-171_900));
      expect(start({ offline_timestamp: END / 1000 })).to.deep.equal(exact(0));
      expect(start({ offline_timestamp: END / 1000 - 7 * 86_400 })).to.deep.equal(exact(-604_800_000));
    });

    it("by its end and the time heard where there is none that can be true", () => {
      for (const stamp of [
        null,
        undefined,
        0,
        "",
        "1732810140",
        -5,
        1.5,
        END / 1000 + 1,
        END / 1000 - 7 * 86_400 - 1,
        END + 1,
      ]) {
        expect(start({ offline_timestamp: stamp }), String(stamp)).to.deep.equal(derived);
      }
    });
  });

  it("is known by its catalogue id, else by its names", () => {
    for (const uri of [null, "", "spotify:local:a:b:c:1", "spotify:track:", "spotify:track:short", 5]) {
      const { trackId, sourceKey } = play({ spotify_track_uri: uri });
      expect(trackId, String(uri)).to.equal(null);
      expect(sourceKey.toString("hex")).to.equal(
        spotifyExtendedKey({
          endMs: END,
          uri: null,
          artist: ROW.master_metadata_album_artist_name,
          title: ROW.master_metadata_track_name,
          msPlayed: ROW.ms_played,
        }).toString("hex"),
      );
    }
  });

  it("has one identity whatever else an older or newer export says about it", () => {
    const key = play().sourceKey.toString("hex");
    const others = {
      platform: "x",
      offline_timestamp: null,
      skipped: null,
      shuffle: false,
      reason_end: "",
      ip_addr_decrypted: "x",
      master_metadata_track_name: "Hey Jane (renamed)",
    };
    expect(play(others).sourceKey.toString("hex")).to.equal(key);
  });

  it("keeps plays of 0 ms, uncounted, and counts from 30 seconds", () => {
    expect(play({ ms_played: 0 })).to.include({ msPlayed: 0, counted: false });
    expect(play({ ms_played: 29_999 }).counted).to.equal(false);
    expect(play({ ms_played: 30_000 }).counted).to.equal(true);
  });

  it("is skipped by what it is of, before anything else is looked at", () => {
    const broken = { ts: null, ms_played: "x", incognito_mode: true };
    expect(reason({ ...NO_TRACK, ...broken, episode_name: "E", episode_show_name: "S" })).to.equal(
      "skipped: podcast",
    );
    expect(reason({ ...NO_TRACK, spotify_episode_uri: "spotify:episode:x" })).to.equal("skipped: podcast");
    expect(reason({ ...NO_TRACK, ...broken, audiobook_title: "B" })).to.equal("skipped: audiobook");
    expect(reason({ ...NO_TRACK, audiobook_uri: "spotify:show:x", audiobook_chapter_title: null })).to.equal(
      "skipped: audiobook",
    );
    expect(reason({ ...NO_TRACK, ...broken })).to.equal("skipped: removed");
    expect(reason({ ...NO_TRACK, episode_name: "", audiobook_title: " " })).to.equal("skipped: removed");
  });

  it("is a video only in a file named so, in any case and folder", () => {
    for (const name of [
      "Streaming_History_Video_2020.json",
      "MyData/endvideo_0.json",
      "x/VIDEO",
      "my video.json",
    ]) {
      expect(reason({ ts: null }, { name }), name).to.equal("skipped: video");
    }
    expect(reason({}, { name: "Videos/audio.json" })).to.equal("play");
    expect(reason({ ...NO_TRACK, episode_name: "E" }, { name: "Video.json" })).to.equal("skipped: podcast");
    expect(reason(NO_TRACK, { name: "Video.json" })).to.equal("skipped: removed");
  });

  it("is skipped when it was private, unless the upload asks for those", () => {
    expect(reason({ incognito_mode: true })).to.equal("skipped: incognito");
    expect(reason({ incognito_mode: true, ts: "x" })).to.equal("skipped: incognito");
    expect(play({ incognito_mode: true }, { includeIncognito: true }).context).to.include({
      incognito: true,
    });
  });

  it("is refused for a time that is none", () => {
    for (const ts of [
      "2024-02-30T00:00:00Z",
      "now",
      "",
      null,
      1e20,
      "2024-11-28",
      "2024-11-28T16:11:57",
      "2024-11-28T16:11:57+01:00",
      "2024-11-28 16:11:57Z",
      "2024-11-28T24:00:00Z",
      "2024-11-28T16:60:00Z",
      " 2024-11-28T16:11:57Z",
      "2024-13-01T00:00:00Z",
      "2024-00-01T00:00:00Z",
      "2024-01-00T00:00:00Z",
    ]) {
      expect(reason({ ts }), String(ts)).to.equal("rejected: bad_time");
    }
    expect(reason({ ts: undefined })).to.equal("rejected: missing_field");
  });

  it("is refused for a time before 2000 or more than a day ahead", () => {
    const iso = (ms: number): string => new Date(ms).toISOString().replace(".000", "");
    for (const ts of ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z", iso(NOW + 25 * 3_600_000)]) {
      expect(reason({ ts }), ts).to.equal("rejected: time_out_of_range");
    }
    for (const ts of ["2000-01-01T00:00:00Z", iso(NOW + 24 * 3_600_000), "2024-02-29T23:59:59Z"]) {
      expect(reason({ ts }), ts).to.equal("play");
    }
  });

  it("is refused for a number that is none or cannot be stored", () => {
    for (const text of [
      "-1",
      "1.5",
      "3000000000",
      "1e999",
      '"30000"',
      "9007199254740993",
      "null",
      '""',
      "true",
    ]) {
      const ms_played: unknown = JSON.parse(text);
      expect(reason({ ms_played }), text).to.equal("rejected: bad_number");
    }
    expect(reason({ ms_played: undefined })).to.equal("rejected: missing_field");
    expect(reason({ ms_played: 2_147_483_647 })).to.equal("play");
  });

  it("is refused for text that is missing, no text, with NUL, or too long to show", () => {
    const title = (master_metadata_track_name: unknown): string => reason({ master_metadata_track_name });
    expect(title(null)).to.equal("rejected: missing_field");
    expect(reason({ master_metadata_album_artist_name: "" })).to.equal("rejected: missing_field");
    expect(title(1999)).to.equal("rejected: malformed");
    expect(title("a\u0000b")).to.equal("rejected: text_nul");
    expect(reason({ master_metadata_album_artist_name: "\u0000" })).to.equal("rejected: text_nul");
    expect(reason({ master_metadata_album_album_name: "\u0000" })).to.equal("rejected: text_nul");
    expect(title("x".repeat(4097))).to.equal("rejected: too_long");
    expect(title("é".repeat(2049))).to.equal("rejected: too_long");
    expect(title("x".repeat(4096))).to.equal("play");
    expect(title("😀".repeat(1024))).to.equal("play");
    for (const record of [null, 5, "x", [ROW]]) {
      expect(spotifyExtended.judge(record, CONTEXT)).to.include({ verdict: "rejected", reason: "malformed" });
    }
  });

  it("keeps text as given, but for a lone surrogate, which cannot be stored", () => {
    expect(play({ master_metadata_track_name: " Ｈey\u2019 " }).title).to.equal(" Ｈey\u2019 ");
    expect(play({ master_metadata_track_name: "a\ud83d" }).title).to.equal("a\ufffd");
    expect(play({ master_metadata_album_album_name: "" }).album).to.equal(null);
  });

  it("reads nothing through a prototype that a record brings along", () => {
    const record: unknown = JSON.parse(
      `{"__proto__":{"ts":"2024-11-28T16:11:57Z"},${JSON.stringify(ROW).slice(1)}`,
    );
    expect(spotifyExtended.judge(record, CONTEXT).verdict).to.equal("play");
    expect(({} as { ts?: string }).ts).to.equal(undefined);
  });

  it("is shown in the ledger without personal fields, within a kilobyte", () => {
    const excerpt = spotifyExtended.excerpt({
      ...ROW,
      username: "jane",
      user_agent_decrypted: "Mozilla",
      other: "x",
    });
    expect(excerpt).to.contain("Hey Jane").and.contain("2024-11-28T16:11:57Z");
    for (const personal of ["192.0.2.7", "jane", "Mozilla", "other"])
      expect(excerpt).to.not.contain(personal);
    const long = spotifyExtended.excerpt({ ...ROW, master_metadata_track_name: "😀".repeat(5000) });
    expect(Buffer.byteLength(long)).to.be.within(1000, 1024);
    expect(long).to.not.contain("\ufffd");
    expect(spotifyExtended.excerpt(["192.0.2.7"])).to.equal('["…"]');
  });
});
