import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { announceChange, CATALOGUE } from "../../db/queries/cacheVersions.js";
import { refreshStatistics } from "../../services/stats/upkeep.js";
import { encodeCursor } from "../../utils/pagination.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { insertPlays, type PlaySpec } from "../support/plays.js";

const STATS = "/api/v1/stats";
const PATHS = ["summary", "top/artists", "top/albums", "top/tracks", "activity"] as const;
type Query = Readonly<Record<string, string | number>>;

const PLAYS: readonly PlaySpec[] = [
  {
    playedAt: "2023-12-31T23:30:00Z",
    artist: "Sigur Rós",
    track: "Hoppípolla",
    album: "Takk...",
    msPlayed: 268_000,
  },
  {
    playedAt: "2024-03-31T00:30:00Z",
    artist: "Sigur Rós",
    track: "Hoppípolla",
    album: "Takk...",
    msPlayed: 100_000,
  },
  { playedAt: "2024-03-31T01:30:00Z", artist: "Sigur Rós", track: "Glósóli", album: null, msPlayed: null },
  { playedAt: "2024-10-27T00:30:00Z", artist: "Björk", track: "Jóga", album: "Homogenic" },
  { playedAt: "2024-10-27T01:30:00Z", artist: "Björk", track: "Jóga", album: "Homogenic" },
  { playedAt: "2024-10-27T01:31:00Z", artist: "Björk", track: "Jóga", album: "Homogenic", counted: false },
];

describe("/stats", () => {
  let app: TestApp;
  let user: TestUser;

  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  /** Until the app has heard of what another process changes, it may answer from before. */
  const heard = () => app.deps.pages.seen();
  const insert = async (plays: readonly PlaySpec[], owner = user): Promise<number[]> => {
    const ids = await insertPlays(app.deps.database.pool, owner.id, plays);
    await heard();
    return ids;
  };
  const set = async (column: string, value: string, owner = user): Promise<void> => {
    await app.deps.database.pool.query(`update users set ${column} = $2 where id = $1`, [owner.id, value]);
    await heard();
  };
  const get = (path: string, query: Query = {}, reader = user): Promise<Answer> => {
    const params = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    return app.as(reader).get(`${STATS}/${path}?${params.toString()}`);
  };
  const ok = async (path: string, query: Query = {}, reader = user) =>
    expectStatus(200, await get(path, query, reader)).body;
  const buckets = async (query: Query): Promise<readonly (readonly [string, number])[]> => {
    const { data } = await ok("activity", query);
    return (data as { bucket: string; plays: number }[]).map(({ bucket, plays }) => [bucket, plays]);
  };

  it("say what there is for a new account: nothing", async () => {
    expect(await ok("summary")).to.deep.equal({
      ...{ plays: 0, msPlayed: 0, artists: 0, albums: 0, tracks: 0 },
      ...{ firstAt: null, lastAt: null },
    });
    for (const kind of ["artists", "albums", "tracks"])
      expect(await ok(`top/${kind}`)).to.deep.equal({ data: [], nextCursor: null });
    expect(await ok("activity")).to.deep.equal({ data: [] });
  });

  it("count each play that counts once, and time only where it is known", async () => {
    const [first] = await insert(PLAYS);
    await insert([{ playedAt: "2023-12-31T23:30:02Z", source: "lastfm", duplicateOf: first ?? null }]);
    const everything = {
      ...{ plays: 5, msPlayed: 728_000, artists: 2, albums: 2, tracks: 3 },
      ...{ firstAt: "2023-12-31T23:30:00.000Z", lastAt: "2024-10-27T01:30:00.000Z" },
    };
    expect(await ok("summary")).to.deep.equal(everything);
    const half = { from: "2024-03-31T00:30:00Z", until: "2024-03-31T01:30:00Z" };
    expect(await ok("summary", half)).to.deep.include({ plays: 1, msPlayed: 100_000, tracks: 1 });
    expect(await ok("summary", { from: "2024-03-31T00:30:00.001Z", until: half.until })).to.deep.include({
      plays: 0,
    });
  });

  it("rank artists, albums and tracks, with what they are called", async () => {
    await insert(PLAYS);
    const artists = await ok("top/artists");
    expect(artists.nextCursor).to.equal(null);
    expect(
      artists.data.map(({ artist, plays, msPlayed }: Row) => [artist?.name, plays, msPlayed]),
    ).to.deep.equal([
      ["Sigur Rós", 3, 368_000],
      ["Björk", 2, 360_000],
    ]);
    const albums = await ok("top/albums");
    expect(
      albums.data.map(({ album, plays }: Row) => [album?.title, album?.artist.name, plays]),
    ).to.have.deep.members([
      ["Takk...", "Sigur Rós", 2],
      ["Homogenic", "Björk", 2],
    ]);
    const tracks = await ok("top/tracks", { from: "2024-01-01", until: "2025-01-01" });
    expect(tracks.data[0]).to.deep.include({ plays: 2, msPlayed: 360_000 });
    expect(tracks.data[0].track).to.deep.include({ title: "Jóga", durationMs: null });
    expect(Object.keys(tracks.data[0].track)).to.deep.equal(["id", "title", "durationMs", "artist"]);
    expect(tracks.data[0].track.artist).to.deep.equal(artists.data[1].artist);
  });

  it("rank in pages that joined are the whole, also while sums are made for them in between", async () => {
    await insert(
      Array.from({ length: 60 }, (_, n) => ({
        playedAt: new Date(Date.UTC(2024, 0, 1, n)).toISOString(),
        artist: `Page ${n % 11}`,
        track: `Track ${n % 23}`,
      })),
    );
    for (const kind of ["artists", "tracks"]) {
      const whole = await ok(`top/${kind}`, { limit: 1000 });
      const joined: unknown[] = [];
      let cursor: string | null = null;
      do {
        const page: Answer["body"] = await ok(`top/${kind}`, {
          limit: 4,
          ...(cursor === null ? {} : { cursor }),
        });
        joined.push(...page.data);
        cursor = page.nextCursor;
        const { deps } = app;
        await refreshStatistics(
          { pool: deps.database.pool, log: deps.log },
          { quietMs: 0, movingMs: 0, share: 0 },
        );
      } while (cursor !== null);
      expect(joined).to.deep.equal(whole.data);
    }
  });

  it("have the days, hours and weeks of the time zone, summer time and all", async () => {
    await insert(PLAYS);
    await set("time_zone", "Europe/Amsterdam");
    expect(await buckets({ bucket: "year" })).to.deep.equal([["2024-01-01", 5]]);
    expect(await buckets({ bucket: "year", tz: "UTC" })).to.deep.equal([
      ["2023-01-01", 1],
      ["2024-01-01", 4],
    ]);
    const march = { bucket: "hour", from: "2024-03-31T00:00:00Z", until: "2024-03-31T02:00:00Z" };
    expect(await buckets(march)).to.deep.equal([
      ["2024-03-31T01:00:00+01:00", 1],
      ["2024-03-31T03:00:00+02:00", 1],
    ]);
    const october = await buckets({ bucket: "hour", from: "2024-10-27", until: "2024-10-28" });
    expect(october).to.have.length(25);
    expect(october.slice(1, 4)).to.deep.equal([
      ["2024-10-27T01:00:00+02:00", 0],
      ["2024-10-27T02:00:00+02:00", 1],
      ["2024-10-27T02:00:00+01:00", 1],
    ]);
    expect(await buckets({ bucket: "week", from: "2024-03-25", until: "2024-04-08" })).to.deep.equal([
      ["2024-03-25", 2],
      ["2024-04-01", 0],
    ]);
    const months = await buckets({ bucket: "month" });
    expect(months).to.have.length(10);
    expect(months.filter(([, plays]) => plays > 0)).to.deep.equal([
      ["2024-01-01", 1],
      ["2024-03-01", 2],
      ["2024-10-01", 2],
    ]);
    expect(await buckets({ from: "2024-10-26", until: "2024-10-28", tz: "America/New_York" })).to.deep.equal([
      ["2024-10-26", 2],
      ["2024-10-27", 0],
    ]);
    const [hour] = october[1] ?? [""];
    expect(await ok("summary", { from: hour, until: "2024-10-27T02:00:00+01:00" })).to.deep.include({
      plays: 1,
    });
  });

  it("answer from the cache until the plays, the names or the time zone change", async () => {
    await insert(PLAYS);
    const { pool } = app.deps.database;
    const tags = async (): Promise<string[]> =>
      Promise.all(PATHS.map(async (path) => (await get(path, { tz: "UTC" })).headers.get("etag") ?? ""));
    const before = await tags();
    expect(await tags()).to.deep.equal(before);
    const known = { headers: { "if-none-match": before[0] ?? "" } };
    expect((await app.as(user).get(`${STATS}/summary?tz=UTC`, known)).status).to.equal(304);
    await insert([{ playedAt: "2024-12-01T00:00:00Z", artist: "Múm", album: "Finally", track: "Blessed" }]);
    const after = await tags();
    for (const [index, path] of PATHS.entries()) expect(after[index], path).not.to.equal(before[index]);

    expect(await buckets({ bucket: "year" })).to.have.length(2);
    await set("time_zone", "Europe/Amsterdam");
    expect(await buckets({ bucket: "year" })).to.have.length(1);
    expect((await ok("top/artists")).data[2].artist).to.deep.include({ name: "Múm" });
    await pool.query("update artists set name = 'múm' where name = 'Múm'");
    await announceChange(pool, CATALOGUE);
    await heard();
    expect((await ok("top/artists")).data[2].artist).to.deep.include({ name: "múm" });
  });

  describe("of another user", () => {
    let other: TestUser;
    beforeEach(async () => {
      other = await buildUser(app);
      await insert(PLAYS, other);
      await insert(
        [{ playedAt: "2024-12-01T00:00:00Z", artist: "Secret", context: { incognito: true } }],
        other,
      );
    });

    const anonymised = ({ status, body }: Answer) => ({ status, ...body, requestId: "" });

    it("are hidden like those of one that never existed, until they are public, and again afterwards", async () => {
      for (const path of PATHS) {
        const hidden = await get(path, { userId: other.id });
        expect(hidden.status, path).to.equal(404);
        expect(anonymised(hidden), path).to.deep.equal(anonymised(await get(path, { userId: randomUUID() })));
      }
      await set("history_visibility", "public", other);
      for (const path of PATHS) await ok(path, { userId: other.id });
      await set("history_visibility", "private", other);
      for (const path of PATHS) expect((await get(path, { userId: other.id })).status, path).to.equal(404);
    });

    it("leave out private sessions, counted or from sums, and have the reader's days", async () => {
      await set("history_visibility", "public", other);
      await set("time_zone", "Asia/Tokyo");
      const { deps } = app;
      for (const made of [false, true]) {
        if (made)
          await refreshStatistics(
            { pool: deps.database.pool, log: deps.log },
            { quietMs: 0, movingMs: 0, share: 0 },
          );
        expect((await ok("summary", { userId: other.id })).plays).to.equal(5);
        expect((await ok("summary", { userId: other.id }, other)).plays).to.equal(6);
        const { data } = await ok("top/artists", { userId: other.id });
        expect(data.map(({ artist }: Row) => artist?.name)).to.deep.equal(["Sigur Rós", "Björk"]);
        expect(await buckets({ userId: other.id, bucket: "year" })).to.deep.equal([["2024-01-01", 5]]);
      }
    });
  });

  it("need a token", async () => {
    for (const path of PATHS)
      expect((await app.anonymous.get(`${STATS}/${path}`)).status, path).to.equal(401);
  });

  it("refuse what makes no sense, naming it", async () => {
    const refusals: readonly (readonly [query: Query, path: string, code: string])[] = [
      [{ from: "2024-13-01" }, "from", "bad_time"],
      [{ from: "2024" }, "from", "bad_time"],
      [{ until: "2024-01-01T00:00:00" }, "until", "bad_time"],
      [{ from: "2024-01-02", until: "2024-01-01" }, "from", "bad_range"],
      [{ tz: "Europe/Atlantis" }, "tz", "bad_time_zone"],
      [{ tz: "+02:00" }, "tz", "bad_time_zone"],
      [{ tz: "" }, "tz", "empty"],
      [{ userId: "me" }, "userId", "bad_id"],
      [{ sort: "plays" }, "sort", "unknown_field"],
    ];
    for (const path of PATHS) {
      for (const [query, field, code] of refusals) {
        const { status, body } = await get(path, query);
        expect(status, `${path} ${JSON.stringify(query)}`).to.equal(400);
        expect(body.errors[0]).to.deep.include({ path: field, code });
      }
    }
    const own: readonly (readonly [path: string, query: Query, field: string, code: string])[] = [
      ["activity", { bucket: "decade" }, "bucket", "not_allowed"],
      ["activity", { bucket: "hour", from: "2020-01-01", until: "2024-01-01" }, "bucket", "too_many_buckets"],
      ["top/artists", { limit: 0 }, "limit", "bad_number"],
      ["top/artists", { cursor: "x" }, "cursor", "bad_cursor"],
      ["top/artists", { cursor: encodeCursor("top-tracks", [1, 1]) }, "cursor", "bad_cursor"],
      ["top/artists", { cursor: encodeCursor("top-artists", [1, -1]) }, "cursor", "bad_cursor"],
      ["summary", { limit: 10 }, "limit", "unknown_field"],
    ];
    for (const [path, query, field, code] of own) {
      const { status, body } = await get(path, query);
      expect(status, `${path} ${JSON.stringify(query)}`).to.equal(400);
      expect(body.errors[0]).to.deep.include({ path: field, code });
    }
  });

  it("take the whole of time, from end to end", async () => {
    await insert(PLAYS);
    await set("time_zone", "Pacific/Kiritimati");
    const ends = { from: "0001-01-01", until: "9999-12-31" };
    expect((await ok("summary", ends)).plays).to.equal(5);
    expect((await ok("top/artists", ends)).data).to.have.length(2);
    expect(await buckets({ ...ends, bucket: "year" })).to.have.length(9999);
    expect(await buckets({ from: "1969-12-30", until: "1970-01-02" })).to.have.length(3);
  });
});

interface Row {
  readonly artist?: { readonly name: string };
  readonly album?: { readonly title: string; readonly artist: { readonly name: string } };
  readonly plays: number;
  readonly msPlayed: number;
}
