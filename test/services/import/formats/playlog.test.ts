import { expect } from "chai";
import { playlog } from "../../../../services/import/formats/playlog.js";
import { ExportService } from "../../../../services/users/export/ExportService.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { insertUser } from "../../../support/users.js";
import { zip } from "../../../support/zip.js";
import { createHostileBench, importJob, type HostileBench } from "../hostile/support.js";
import { json, play, plays } from "../importing.js";
import { playIn, reasonIn } from "./scrobbleVerdicts.js";

const RECORD = {
  id: 7,
  playedAt: "2024-07-11T09:07:32.250Z",
  endedAt: "2024-07-11T09:10:00.000Z",
  startEarliest: "2024-07-11T09:07:30.000Z",
  startLatest: "2024-07-11T09:07:34.000Z",
  msPlayed: 147_000,
  durationMs: null,
  precision: "second",
  source: "spotify-extended",
  sourceKey: "668fa2c4" + "0123456789abcdef01234567",
  counted: true,
  duplicateOf: null,
  track: {
    id: 1,
    title: "Primary",
    isrc: null,
    externalIds: [
      { provider: "musicbrainz", id: "58900088-3e21-41d5-a2f6-44f3c34e056b" },
      { provider: "spotify", id: "0VjIjW4GlUZAMYd2vXMi3b" },
    ],
  },
  artist: { id: 2, name: "The Cure" },
  album: { id: 3, title: "Faith" },
  context: { platform: "linux", shuffle: false, place: 2 },
};

describe("a play of playlog's own export", () => {
  it("is the row that it was", () => {
    expect(playIn(playlog, RECORD)).to.deep.equal({
      source: "spotify-extended",
      sourceKey: Buffer.from(RECORD.sourceKey, "hex"),
      playedAt: Date.parse(RECORD.playedAt),
      endedAt: Date.parse(RECORD.endedAt),
      startEarliest: Date.parse(RECORD.startEarliest),
      startLatest: Date.parse(RECORD.startLatest),
      precision: "second",
      msPlayed: 147_000,
      durationMs: null,
      counted: true,
      title: "Primary",
      artist: "The Cure",
      album: "Faith",
      trackId: { provider: "spotify", id: "0VjIjW4GlUZAMYd2vXMi3b" },
      context: RECORD.context,
    });
    expect(playIn(playlog, { ...RECORD, album: null, context: null, endedAt: null })).to.include({
      album: null,
      context: null,
      endedAt: null,
    });
  });

  it("is refused when it is not as playlog writes it", () => {
    for (const change of [
      { source: "playlog" },
      { source: "else" },
      { sourceKey: "12" },
      { precision: "hour" },
      { context: { deep: {} } },
      { context: [1] },
      { context: "x" },
    ]) {
      expect(reasonIn(playlog, { ...RECORD, ...change }), JSON.stringify(change)).to.equal(
        "rejected: malformed",
      );
    }
    expect(reasonIn(playlog, [])).to.equal("rejected: malformed");
    expect(reasonIn(playlog, { ...RECORD, startLatest: RECORD.startEarliest })).to.equal(
      "rejected: bad_time",
    );
    expect(reasonIn(playlog, { ...RECORD, endedAt: "later" })).to.equal("rejected: bad_time");
    expect(reasonIn(playlog, { ...RECORD, playedAt: "1999-01-01T00:00:00Z" })).to.equal(
      "rejected: time_out_of_range",
    );
    expect(reasonIn(playlog, { ...RECORD, msPlayed: -1 })).to.equal("rejected: bad_number");
    expect(reasonIn(playlog, { ...RECORD, artist: null })).to.equal("rejected: missing_field");
    expect(reasonIn(playlog, { ...RECORD, context: { platform: "a\0" } })).to.equal("rejected: text_nul");
  });
});

describe("playlog's own export, imported", () => {
  let db: TestDatabase;
  let bench: HostileBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createHostileBench(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  async function exportOf(user: string): Promise<Buffer> {
    const chunks: Buffer[] = [];
    const { archive } = await new ExportService({ pool: db.database.pool }).open(user);
    for await (const chunk of archive) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  }

  async function rowsOf(user: string): Promise<readonly unknown[]> {
    const { rows } = await db.database.pool.query(
      `select h.source, h.source_key, h.played_at, h.ended_at, h.start_earliest, h.start_latest, h.precision, h.ms_played,
              h.duration_ms, h.counted, h.context, h.track_id, h.artist_id, h.album_id
         from listening_history h where h.user_id = $1 order by h.source_key`,
      [user],
    );
    return rows;
  }

  it("adds nothing where it came from, and gives an empty account the same rows", async () => {
    const scrobbles = "uts,artist,album,track\n1577836800,A,,T\n1577837100,B,C,D\n";
    const listens = [1, 2, 3].map((n) =>
      JSON.stringify({
        listened_at: 1_577_900_000 + n * 300,
        track_metadata: { track_name: `L${n}`, artist_name: "M" },
      }),
    );
    const upload = zip([
      {
        name: "spotify.json",
        data: json([...plays(120), { ...play(500), incognito_mode: true }, play(501, { ms: 0 })]),
      },
      { name: "lastfm.csv", data: Buffer.from(scrobbles) },
      { name: "listens/2020/1.jsonl", data: Buffer.from(listens.join("\n")) },
      { name: "minute.csv", data: Buffer.from("Artist,Album,Title,22 May 2014 20:11\n") },
    ]);
    const owner = await insertUser(db.database.pool);
    const options = { includeIncognito: true, from: null, until: null };
    const first = await importJob(bench.bench, owner, await bench.bench.job(owner, upload, { options }));
    expect(first).to.deep.include({ status: "completed", counts: [128, 128, 0, 0, 0], rows: 128 });

    const exported = await exportOf(owner);
    const again = await importJob(bench.bench, owner, await bench.bench.job(owner, exported));
    expect(again).to.deep.include({ counts: [128, 0, 128, 0, 0], rows: 128 });

    const other = await insertUser(db.database.pool);
    const copy = await importJob(bench.bench, other, await bench.bench.job(other, exported));
    expect(copy).to.deep.include({ counts: [128, 128, 0, 0, 0], rows: 128 });
    expect(await rowsOf(other)).to.deep.equal(await rowsOf(owner));
  });
});
