import { expect } from "chai";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { listenbrainzKey } from "../../../../services/history/sourceKey.js";
import { listenbrainz, listenbrainzList } from "../../../../services/import/formats/listenbrainz.js";
import { detectFormat } from "../../../../services/import/reading/detect.js";
import { LIMITS, memoryBlob, openUpload } from "../reading/support.js";
import { CONTEXT, playIn, reasonIn } from "./scrobbleVerdicts.js";

const FIXTURE = path.resolve(
  import.meta.dirname,
  "../../../../../shared/fixtures/listenbrainz/listenbrainz_shoko1_1749780844.zip",
);
const START = Date.UTC(2025, 5, 13, 2, 10, 12);
const MSID = "7ae12054-b489-41c7-9367-f53893a1990d";
const LISTEN = {
  inserted_at: START / 1000 + 1.5,
  listened_at: START / 1000,
  track_metadata: {
    track_name: "Desert",
    artist_name: "OurR",
    release_name: "Desert",
    recording_msid: MSID,
    mbid_mapping: { recording_mbid: "11111111-1111-1111-1111-111111111111" },
    additional_info: {
      duration_ms: 245_000,
      recording_mbid: "08E8F55B-f1a4-46b8-b2d1-fab4c592165c",
      submission_client: "listenbrainz web",
    },
  },
};
const listen = (metadata: object = {}, top: object = {}): object => ({
  ...LISTEN,
  ...top,
  track_metadata: { ...LISTEN.track_metadata, ...metadata },
});

describe("a listen of ListenBrainz", () => {
  it("becomes a play at its start, with the id that was submitted, never the one it was mapped to", () => {
    expect(playIn(listenbrainz, LISTEN)).to.deep.equal({
      source: "listenbrainz",
      sourceKey: listenbrainzKey({ listenedAtMs: START, recordingMsid: MSID, artist: "", title: "" }),
      playedAt: START,
      endedAt: null,
      startEarliest: START - 5000,
      startLatest: START + 5000,
      precision: "second",
      msPlayed: null,
      durationMs: 245_000,
      counted: true,
      title: "Desert",
      artist: "OurR",
      album: "Desert",
      trackId: { provider: "musicbrainz", id: "08e8f55b-f1a4-46b8-b2d1-fab4c592165c" },
      context: { platform: "listenbrainz web" },
    });
  });

  it("has the same key whatever it is mapped to, and one of its names when it has no id", () => {
    const key = playIn(listenbrainz, LISTEN).sourceKey;
    expect(
      playIn(listenbrainzList, listen({ mbid_mapping: null, release_name: "Other" })).sourceKey,
    ).to.deep.equal(key);
    const named = playIn(listenbrainz, listen({ recording_msid: undefined })).sourceKey;
    expect(named).to.deep.equal(
      listenbrainzKey({ listenedAtMs: START, recordingMsid: null, artist: "OurR", title: "Desert" }),
    );
    expect(named).not.to.deep.equal(key);
  });

  it("says how long it was heard where the client did, and counts by that", () => {
    const info = {
      duration: 200,
      duration_played: 40,
      spotify_id: "https://open.spotify.com/track/0VjIjW4GlUZAMYd2vXMi3b",
    };
    expect(playIn(listenbrainz, listen({ additional_info: info }))).to.deep.include({
      msPlayed: 40_000,
      durationMs: 200_000,
      counted: false,
      trackId: { provider: "spotify", id: "0VjIjW4GlUZAMYd2vXMi3b" },
      context: null,
    });
    const odd = playIn(
      listenbrainz,
      listen({ additional_info: { duration_ms: -1, duration: "x", isrc: "usum71703861" } }),
    );
    expect(odd).to.deep.include({ durationMs: null, trackId: { provider: "isrc", id: "USUM71703861" } });
  });

  it("is refused for what is missing or wrong, by reason", () => {
    expect(reasonIn(listenbrainz, "x")).to.equal("rejected: malformed");
    expect(reasonIn(listenbrainz, listen({ track_name: "" }))).to.equal("rejected: missing_field");
    expect(reasonIn(listenbrainz, listen({ artist_name: null }))).to.equal("rejected: missing_field");
    expect(reasonIn(listenbrainz, listen({ track_name: "a\0b" }))).to.equal("rejected: text_nul");
    expect(reasonIn(listenbrainz, listen({}, { listened_at: undefined }))).to.equal(
      "rejected: missing_field",
    );
    expect(reasonIn(listenbrainz, listen({}, { listened_at: "soon" }))).to.equal("rejected: bad_time");
    expect(reasonIn(listenbrainz, listen({}, { listened_at: 1.5 }))).to.equal("rejected: bad_time");
    expect(reasonIn(listenbrainz, listen({}, { listened_at: 0 }))).to.equal("rejected: time_out_of_range");
    expect(reasonIn(listenbrainz, listen({}, { listened_at: null, playing_now: true }))).to.equal(
      "skipped: now_playing",
    );
  });

  it("shows in the ledger what it is, and nothing about whose it is", () => {
    const shown = listenbrainz.excerpt(listen({}, { user_name: "somebody" }));
    expect(JSON.parse(shown)).to.deep.equal({
      listened_at: LISTEN.listened_at,
      track_name: "Desert",
      artist_name: "OurR",
      release_name: "Desert",
    });
    expect(listenbrainz.excerpt(7)).to.equal("7");
  });
});

describe("a real ListenBrainz export", () => {
  it("is read month by month; the other files of the archive are none of its listens", async function () {
    if (!existsSync(FIXTURE)) {
      console.error(`skipped: no real export file at ${FIXTURE}`);
      this.skip();
    }
    const upload = await openUpload(memoryBlob(await readFile(FIXTURE)), "export.zip", LIMITS);
    const found: Record<string, string> = {};
    for await (const entry of upload.entries()) {
      const { format, skipped } = await detectFormat(entry);
      found[entry.name] = format?.name ?? skipped ?? "";
      if (format === undefined) continue;
      const bytes: Buffer[] = [];
      for await (const piece of await entry.open()) bytes.push(piece as Buffer);
      const lines = Buffer.concat(bytes).toString().trim().split("\n");
      const verdicts = lines.map((line) => format.judge(JSON.parse(line), CONTEXT).verdict);
      expect(verdicts).to.deep.equal(["play", "play", "play", "play", "play"]);
    }
    expect(found).to.deep.equal({
      "user.json": "unrecognised_format",
      "listens/2025/6.jsonl": "listenbrainz",
    });
  });
});
