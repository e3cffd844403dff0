import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { encodeCursor } from "../../utils/pagination.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { insertPlays, type PlaySpec } from "../support/plays.js";

const PATH = "/api/v1/listening-history";

describe("GET /listening-history", () => {
  let app: TestApp;
  let user: TestUser;

  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  const insert = (plays: readonly PlaySpec[], owner = user): Promise<number[]> =>
    insertPlays(app.deps.database.pool, owner.id, plays);
  const list = (
    query: Readonly<Record<string, string | number | boolean>> = {},
    reader = user,
  ): Promise<Answer> => {
    const params = new URLSearchParams(
      Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
    );
    return app.as(reader).get(`${PATH}?${params.toString()}`);
  };
  const plays = ({ body }: Answer) =>
    body.data as readonly { readonly id: number; readonly playedAt: string }[];
  const ids = (answer: Answer): number[] => plays(answer).map(({ id }) => id);
  const show = (id: number | undefined): Promise<Answer> => app.as(user).get(`${PATH}/${String(id)}`);
  const makePublic = (owner: TestUser) =>
    app.deps.database.pool.query("update users set history_visibility = 'public' where id = $1", [owner.id]);
  const inDays = (count: number, more: Partial<PlaySpec> = {}): PlaySpec[] =>
    Array.from({ length: count }, (_, day) => ({
      playedAt: new Date(Date.UTC(2024, 0, 1 + day)).toISOString(),
      ...more,
    }));

  it("shows a play with everything that is known, and null for the rest", async () => {
    const importId = randomUUID();
    const [full, bare] = await insert([
      {
        playedAt: "2024-05-01T10:20:30.123456Z",
        artist: 'Sigur "Rós"',
        track: "Svefn-g-englar \\ 眠り",
        album: "Ágætis byrjun",
        source: "spotify-extended",
        importId,
        msPlayed: 0,
        counted: false,
        context: { platform: "ios", shuffle: true },
      },
      { playedAt: "2024-05-01T10:20:29Z", source: "lastfm", msPlayed: null },
    ]);

    const { body, headers } = expectStatus(200, await list());

    expect(headers.get("content-type")).to.match(/^application\/json/);
    expect(Object.keys(body)).to.deep.equal(["data", "nextCursor"]);
    const [first, second] = body.data;
    expect(first).to.deep.include({
      id: full,
      playedAt: "2024-05-01T10:20:30.123Z",
      msPlayed: 0,
      precision: "second",
      source: "spotify-extended",
      counted: false,
      duplicateOf: null,
      importId,
      context: { platform: "ios", shuffle: true },
    });
    expect(first.track).to.deep.include({ title: "Svefn-g-englar \\ 眠り", durationMs: null });
    expect(first.artist).to.deep.include({ name: 'Sigur "Rós"' });
    expect(first.album).to.deep.include({ title: "Ágætis byrjun" });
    expect(first.createdAt).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(second).to.deep.include({ id: bare, msPlayed: null, importId: null, album: null, context: null });
    expect(Object.keys(second)).to.deep.equal(Object.keys(first));
    expect(expectStatus(200, await show(full)).body).to.deep.equal(first);
  });

  it("is empty for a new account", async () => {
    expect((await list()).body).to.deep.equal({ data: [], nextCursor: null });
  });

  for (const order of ["desc", "asc"] as const) {
    it(`gives pages that joined are the whole history, ${order}`, async () => {
      const same = "2024-03-01T00:00:00.000001Z"; // many at one microsecond: the id has to decide
      await insert([
        ...inDays(20),
        ...Array.from({ length: 20 }, () => ({ playedAt: same })),
        { playedAt: "2024-03-01T00:00:00.000002Z" },
        { playedAt: "2024-03-01T00:00:00Z" },
      ]);
      const whole = ids(await list({ order, limit: 1000 }));
      expect(whole).to.have.length(42);

      const joined: number[] = [];
      let cursor: string | null = "";
      while (cursor !== null) {
        const answer: Answer = expectStatus(
          200,
          await list({ order, limit: 7, ...(cursor === "" ? {} : { cursor }) }),
        );
        joined.push(...ids(answer));
        cursor = answer.body.nextCursor;
      }
      expect(joined).to.deep.equal(whole);

      const pages: Answer[] = [];
      for (const page of [1, 2, 3, 4, 5, 6, 7]) pages.push(await list({ order, limit: 7, page }));
      expect(pages.flatMap(ids)).to.deep.equal(whole);
      expect(pages.map(({ body }) => body.data.length)).to.deep.equal([7, 7, 7, 7, 7, 7, 0]);
      expect(ids(await list({ order, limit: 7, cursor: pages[1]?.body.nextCursor }))).to.deep.equal(
        ids(pages[2]!),
      );
    });
  }

  it("goes on where it was when the last play seen is deleted, and shows no play twice when one is added", async () => {
    await insert(inDays(6));
    const first = await list({ limit: 3 });
    await app.deps.database.pool.query("delete from listening_history where id = $1", [ids(first)[2]]);
    await insert([{ playedAt: "2024-06-01T00:00:00Z" }]);
    const second = expectStatus(200, await list({ limit: 3, cursor: first.body.nextCursor }));
    expect(plays(second).map(({ playedAt }) => playedAt.slice(0, 10))).to.deep.equal([
      "2024-01-03",
      "2024-01-02",
      "2024-01-01",
    ]);
    expect(second.body.nextCursor).to.equal(null);
  });

  it("gives 100 plays when nothing is said about the limit", async () => {
    await insert(inDays(101));
    expect((await list()).body.data).to.have.length(100);
  });

  it("filters by time, half-open", async () => {
    const [, second, third] = await insert(inDays(4));
    const answer = await list({ from: "2024-01-02T01:00:00+01:00", until: "2024-01-04T00:00:00Z" });
    expect(ids(answer)).to.deep.equal([third, second]);
    expect(ids(await list({ from: "2024-01-02T00:00:00Z", until: "2024-01-02T00:00:00Z" }))).to.deep.equal(
      [],
    );
  });

  it("filters by artist, track and album, by id and by name in any spelling", async () => {
    const [a, b, c] = await insert([
      { playedAt: "2024-01-01T00:00:00Z", artist: "Guns N’ Roses", track: "Patience", album: "Lies" },
      { playedAt: "2024-01-02T00:00:00Z", artist: "Guns N’ Roses", track: "Nightrain", album: "Appetite" },
      { playedAt: "2024-01-03T00:00:00Z", artist: "Take That", track: "Patience", album: "Lies" },
    ]);
    const { body } = await show(a);
    const found = async (query: Readonly<Record<string, string | number>>) =>
      ids(expectStatus(200, await list(query)));

    expect(await found({ artistId: body.artist.id })).to.deep.equal([b, a]);
    expect(await found({ trackId: body.track.id })).to.deep.equal([a]);
    expect(await found({ albumId: body.album.id })).to.deep.equal([a]);
    expect(await found({ artist: "GUNS  N' ROSES" })).to.deep.equal([b, a]);
    expect(await found({ track: "patience" })).to.deep.equal([c, a]);
    expect(await found({ track: "patience", artist: "take that" })).to.deep.equal([c]);
    expect(await found({ track: "patience", albumId: body.album.id })).to.deep.equal([a]);
    expect(
      await found({ artistId: body.artist.id, track: "Nightrain", from: "2024-01-01T12:00:00Z" }),
    ).to.deep.equal([b]);
    expect(await found({ artist: "Nobody At All" })).to.deep.equal([]);
    expect(await found({ trackId: Number.MAX_SAFE_INTEGER })).to.deep.equal([]);
  });

  it("filters by source, by import and by what counts", async () => {
    const importId = randomUUID();
    const [extended, account, apple, lastfm] = await insert([
      { playedAt: "2024-01-04T00:00:00Z", source: "spotify-extended", importId },
      { playedAt: "2024-01-03T00:00:00Z", source: "spotify-account", counted: false },
      { playedAt: "2024-01-02T00:00:00Z", source: "apple-export" },
      { playedAt: "2024-01-01T00:00:00Z", source: "lastfm-minute" },
    ]);
    const found = async (query: Readonly<Record<string, string | boolean>>) =>
      ids(expectStatus(200, await list(query)));

    expect(await found({ source: "spotify" })).to.deep.equal([extended, account]);
    expect(await found({ source: "spotify-account" })).to.deep.equal([account]);
    expect(await found({ source: "apple" })).to.deep.equal([apple]);
    expect(await found({ source: "youtube" })).to.deep.equal([]);
    expect(await found({ source: "lastfm" })).to.deep.equal([]);
    expect(await found({ importId })).to.deep.equal([extended]);
    expect(await found({ importId: importId.toUpperCase() })).to.deep.equal([extended]);
    expect(await found({ counted: true })).to.deep.equal([extended, apple, lastfm]);
    expect(await found({ counted: false })).to.deep.equal([account]);
  });

  it("leaves out other sightings of a play unless they are asked for", async () => {
    const [leader] = await insert([{ playedAt: "2024-01-01T00:00:00Z" }]);
    const [sighting] = await insert([{ playedAt: "2024-01-01T00:00:30Z", duplicateOf: leader ?? null }]);
    expect(ids(await list())).to.deep.equal([leader]);
    const both = await list({ includeDuplicates: true, includeTotal: true });
    expect(ids(both)).to.deep.equal([sighting, leader]);
    expect(both.body.data[0].duplicateOf).to.equal(leader);
    expect(both.body.total).to.equal(2);
  });

  it("counts what fits when asked to", async () => {
    await insert([...inDays(5), ...inDays(3, { track: "Other" })]);
    expect((await list({ includeTotal: true, limit: 2 })).body).to.include({ total: 8, totalIsExact: true });
    expect((await list({ includeTotal: true, limit: 2, page: 2, track: "other" })).body).to.include({
      total: 3,
    });
    expect((await list({ includeTotal: false })).body).not.to.have.property("total");
  });

  describe("another user's history", () => {
    let other: TestUser;
    let play: number;

    beforeEach(async () => {
      other = await buildUser(app);
      const spec = { playedAt: "2024-01-01T00:00:00Z", importId: randomUUID(), context: { country: "NL" } };
      [play = 0] = await insert([spec], other);
    });

    const anonymised = ({ status, body }: Answer) => ({ status, ...body, requestId: "" });

    it("is hidden like one that never existed", async () => {
      const hidden = anonymised(await list({ userId: other.id }));
      expect(hidden).to.include({ status: 404, code: "not_found" });
      expect(hidden).to.deep.equal(anonymised(await list({ userId: randomUUID() })));
      const never = await app.as(user).get(`${PATH}/${Number.MAX_SAFE_INTEGER}`);
      expect(anonymised(await app.as(user).get(`${PATH}/${play}`))).to.deep.equal(anonymised(never));
    });

    it("is open once its owner says so, without what only concerns the owner", async () => {
      await makePublic(other);
      const answer = expectStatus(200, await list({ userId: other.id }));
      expect(ids(answer)).to.deep.equal([play]);
      expect(answer.body.data[0]).to.include({ importId: null, context: null });
      const single = expectStatus(200, await app.as(user).get(`${PATH}/${play}`));
      expect(single.body).to.deep.equal(answer.body.data[0]);
      expect(ids(await list())).to.deep.equal([]);
    });

    it("keeps to its owner what was heard in a private session, and which imports there were", async () => {
      await makePublic(other);
      const importId = randomUUID();
      const [secret] = await insert(
        [{ playedAt: "2024-01-02T00:00:00Z", importId, context: { incognito: true } }],
        other,
      );
      await insert([{ playedAt: "2024-01-03T00:00:00Z", importId, context: { incognito: false } }], other);
      expect(ids(await list({ userId: other.id })))
        .to.have.length(2)
        .and.not.include(secret);
      const total = await list({ userId: other.id, includeTotal: true });
      expect(total.body.total).to.equal(2);
      expect((await app.as(user).get(`${PATH}/${secret}`)).status).to.equal(404);
      expect(ids(await list({}, other))).to.include(secret);
      expect((await app.as(other).get(`${PATH}/${secret}`)).status).to.equal(200);

      expect(ids(await list({ importId }, other))).to.have.length(2);
      expect((await list({ userId: other.id, importId, includeTotal: true })).body).to.deep.equal({
        data: [],
        nextCursor: null,
        total: 0,
        totalIsExact: true,
      });
    });

    it("is hidden again when the account is disabled", async () => {
      await makePublic(other);
      await app.deps.database.pool.query("update users set disabled_at = now() where id = $1", [other.id]);
      expect((await list({ userId: other.id })).status).to.equal(404);
      expect((await app.as(user).get(`${PATH}/${play}`)).status).to.equal(404);
    });

    it("can be asked for by its owner by id", async () => {
      expect(ids(expectStatus(200, await list({ userId: other.id }, other)))).to.deep.equal([play]);
    });
  });

  it("needs a token", async () => {
    expect((await app.anonymous.get(PATH)).status).to.equal(401);
    expect((await app.anonymous.get(`${PATH}/1`)).status).to.equal(401);
  });

  it("answers 404 for what is no id", async () => {
    for (const id of ["0", "-1", "1.5", "abc", "9007199254740992", "99999999999999999999", "1e3", "%00"]) {
      expect((await app.as(user).get(`${PATH}/${id}`)).status, id).to.equal(404);
    }
  });

  const refusals: readonly (readonly [query: string, path: string])[] = [
    ...["-1", "0", "1001", "abc", "1.5", "1e2", ""].map((limit) => [`limit=${limit}`, "limit"] as const),
    ["limit=1&limit=2", "limit"],
    ...["0", "101", "x"].map((page) => [`page=${page}`, "page"] as const),
    ...[
      "2024-02-30T00:00:00Z",
      "2024",
      "now",
      "infinity",
      "%2B275760-09-13T00:00:00Z",
      "2024-01-01T00:00:00",
      "",
    ].map((from) => [`from=${from}`, "from"] as const),
    ["until=tomorrow", "until"],
    ["from=2024-01-02T00:00:00Z&until=2024-01-01T00:00:00Z", "from"],
    ["artistId=x", "artistId"],
    ["trackId=-1", "trackId"],
    ["albumId=99999999999999999999", "albumId"],
    ["artist=", "artist"],
    ["track=%00", "track"],
    [`artist=${"x".repeat(1001)}`, "artist"],
    ["source=deezer", "source"],
    ["importId=1", "importId"],
    ["userId=me", "userId"],
    ["counted=1", "counted"],
    ["order=up", "order"],
    ["sort=playedAt", "sort"],
    [`page=2&cursor=${encodeCursor("listens-desc", ["2024-01-01T00:00:00.000000Z", 1])}`, "page"],
  ];
  for (const [query, path] of refusals) {
    it(`refuses ?${query.slice(0, 60)}, naming ${path}`, async () => {
      const { status, body } = await app.as(user).get(`${PATH}?${query}`);
      expect(status).to.equal(400);
      expect(body.errors[0].path).to.equal(path);
    });
  }

  it("says between which numbers a number has to be, and that two parameters exclude each other", async () => {
    expect((await list({ limit: 0 })).body.errors).to.deep.equal([
      { path: "limit", code: "bad_number", message: "limit must be a whole number from 1 to 1000" },
    ]);
    expect((await list({ page: 101 })).body.errors[0].message).to.equal(
      "page must be a whole number from 1 to 100",
    );
    const cursor = encodeCursor("listens-desc", ["2024-01-01T00:00:00.000000Z", 1]);
    expect((await list({ page: 2, cursor })).body.errors[0].code).to.equal("conflicting");
  });

  it("refuses cursors it has not given, also well-made ones that lead nowhere", async () => {
    await insert(inDays(3));
    const good = (await list({ limit: 1 })).body.nextCursor as string;
    const bad = [
      "x",
      good.slice(0, -2),
      `${good.slice(0, 10)}${good[10] === "A" ? "B" : "A"}${good.slice(11)}`,
      encodeCursor("listens-asc", ["2024-01-01T00:00:00.000000Z", 1]),
      encodeCursor("listens-desc", ["2024-13-99T99:00:00.000000Z", 1]),
      encodeCursor("listens-desc", ["infinity", 1]),
      encodeCursor("listens-desc", ["2024-01-01T00:00:00.000000Z", 1e300]),
      encodeCursor("listens-desc", ["2024-01-01T00:00:00.000000Z", "1"]),
    ];
    for (const cursor of bad) {
      const { status, body } = await list({ cursor });
      expect([status, body.errors[0].code], cursor).to.deep.equal([400, "bad_cursor"]);
    }
    expect((await list({ limit: 1, cursor: good })).status).to.equal(200);
  });
});
