import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { insertUser } from "../support/users.js";
import { insertPlays } from "../support/plays.js";
import { buildCast, type Cast, make } from "./catalogueSupport.js";

const NOWHERE = 4_000_000_000;

describe("merging over HTTP", () => {
  let app: TestApp;
  let cast: Cast;
  before(async () => {
    app = await startTestApp();
    cast = await buildCast(app);
  });
  after(() => app.close());

  const pool = () => app.deps.database.pool;
  const merge = (kind: string, id: number, into: number) =>
    cast.editor.post(`/api/v1/${kind}/${id}/merge`, { into });

  it("sends old ids on to the one that stays, by every method and after further merges", async () => {
    for (const kind of ["artists", "albums", "tracks"] as const) {
      const [a, b, c, d] = await Promise.all(
        ["A", "B", "C", "D"].map((letter) =>
          make(
            cast.user,
            kind,
            kind === "artists" ? { name: `Chain ${letter}` } : { title: letter, artist: "Chained" },
          ),
        ),
      );
      expect(expectStatus(200, await merge(kind, a.id, b.id)).body.id).to.equal(b.id);
      expectStatus(200, await merge(kind, b.id, c.id));
      // An old id names the one that stays here as well.
      expectStatus(200, await merge(kind, d.id, a.id));
      for (const old of [a.id, b.id, d.id]) {
        const path = `/api/v1/${kind}/${old}`;
        const shown = expectStatus(308, await cast.user.get(path));
        expect(shown.headers.get("location")).to.equal(`/api/v1/${kind}/${c.id}`);
        expect(shown.body).to.deep.equal({ id: c.id });
        const field = kind === "artists" ? { name: "x" } : { title: "x" };
        for (const method of ["PUT", "PATCH"]) {
          const moved = expectStatus(308, await cast.editor.request(method, path, field));
          expect(moved.headers.get("location")).to.equal(`/api/v1/${kind}/${c.id}`);
        }
      }
      const { rows } = await pool().query<{ into_id: number }>(
        "select distinct into_id from catalogue_merges where entity = $1",
        [kind.slice(0, -1)],
      );
      expect(rows).to.deep.equal([{ into_id: c.id }]);

      const again = expectStatus(200, await merge(kind, a.id, c.id));
      expect(again.body.id).to.equal(c.id);
      const elsewhere = await make(
        cast.user,
        kind,
        kind === "artists" ? { name: "Chain E" } : { title: "E", artist: "Chained" },
      );
      const late = expectStatus(308, await merge(kind, a.id, elsewhere.id));
      expect(late.headers.get("location")).to.equal(`/api/v1/${kind}/${c.id}/merge`);
    }
  });

  it("refuses to merge what is not there, and something into itself under any of its ids", async () => {
    for (const kind of ["artists", "albums", "tracks"] as const) {
      const [a, b] = await Promise.all(
        ["A", "B"].map((letter) =>
          make(
            cast.user,
            kind,
            kind === "artists" ? { name: `Self ${letter}` } : { title: letter, artist: "Selfish" },
          ),
        ),
      );
      const errors = async (id: number, into: unknown) =>
        expectStatus(400, await merge(kind, id, into as number)).body.errors.map(
          ({ path, code }: { path: string; code: string }) => `${path} ${code}`,
        );
      expect(await errors(a.id, a.id)).to.deep.equal(["into same"]);
      expect(await errors(a.id, NOWHERE)).to.deep.equal(["into not_found"]);
      expect(await errors(a.id, "1")).to.deep.equal(["into wrong_type"]);
      expect(await errors(a.id, undefined)).to.deep.equal(["into required"]);
      expectStatus(404, await merge(kind, NOWHERE, a.id));
      expectStatus(200, await merge(kind, a.id, b.id));
      expect(await errors(b.id, a.id)).to.deep.equal(["into same"]);
    }
  });

  it("moves plays, places, credits and strong ids of a track, and counts nothing twice", async () => {
    const other = await insertUser(pool());
    const at = (n: number) => `2024-05-01T10:${String(n).padStart(2, "0")}:00Z`;
    await insertPlays(pool(), cast.userId, [
      { playedAt: at(1), artist: "Beatles", track: "Help", album: "Help!" },
      { playedAt: at(2), artist: "The Beatles", track: "Help!", album: "Hits" },
      { playedAt: at(3), artist: "The Beatles", track: "Help!", album: "Help!" },
    ]);
    await insertPlays(pool(), other, [{ playedAt: at(4), artist: "Beatles", track: "Help", album: null }]);
    const [loser] = (await cast.user.get("/api/v1/tracks?q=help&sort=name")).body.data;
    const [survivor] = (await cast.user.get("/api/v1/tracks?q=help!&sort=name")).body.data;
    const guest = await make(cast.user, "artists", { name: "Billy" });
    expectStatus(
      200,
      await cast.editor.patch(`/api/v1/tracks/${loser.id}`, {
        ...{ durationMs: 138_000, isrc: "GBAYE0601498", externalIds: [{ provider: "apple", id: "1" }] },
        artists: [{ id: loser.artist.id }, { id: guest.id, role: "featured" }],
      }),
    );

    const merged = expectStatus(200, await merge("tracks", loser.id, survivor.id)).body;
    expect(merged).to.deep.include({
      id: survivor.id,
      title: "Help!",
      durationMs: 138_000,
      isrc: "GBAYE0601498",
    });
    expect(merged.artists.map(({ name, role }: Record<string, string>) => `${name} ${role}`)).to.deep.equal([
      "The Beatles main",
      "Billy featured",
    ]);
    expect(merged.externalIds).to.deep.equal([
      { provider: "apple", id: "1" },
      { provider: "isrc", id: "GBAYE0601498" },
    ]);
    // Two albums called Help!, one by each spelling of the artist.
    expect(merged.albums.map(({ title }: { title: string }) => title).sort()).to.deep.equal([
      "Help!",
      "Help!",
      "Hits",
    ]);

    const plays = (await cast.user.get("/api/v1/listening-history?limit=10")).body.data;
    expect(
      plays.map(({ track, artist }: Record<string, { id: number }>) => [track!.id, artist!.id]),
    ).to.deep.equal(Array(3).fill([survivor.id, survivor.artist.id]));
    const { rows } = await pool().query(
      "select count(*)::int as n from listening_history where track_id = $1",
      [survivor.id],
    );
    expect(rows).to.deep.equal([{ n: 4 }]);
    const byAlbum = await cast.user.get(`/api/v1/listening-history?albumId=${plays[2].album.id}`);
    expect(byAlbum.body.data.map(({ id }: { id: number }) => id)).to.deep.equal([plays[2].id]);
    const named = await cast.user.post("/api/v1/tracks", { title: "HELP", artist: "beatles" });
    expect(expectStatus(200, named).body.id).to.equal(survivor.id);
  });

  it("moves tracks and plays of an album, and fills in what the other one does not know", async () => {
    await insertPlays(pool(), cast.userId, [
      { playedAt: "2023-01-01T00:00:00Z", artist: "Boxed", track: "One", album: "Box (Deluxe)" },
      { playedAt: "2023-01-01T01:00:00Z", artist: "Boxed", track: "Two", album: "Box" },
      { playedAt: "2023-01-01T02:00:00Z", artist: "Boxed", track: "One", album: "Box" },
    ]);
    const [box, deluxe] = (await cast.user.get("/api/v1/albums?q=box&sort=name")).body.data;
    const { tracks } = (await cast.user.get(`/api/v1/albums/${deluxe.id}`)).body;
    expectStatus(
      200,
      await cast.editor.patch(`/api/v1/albums/${deluxe.id}`, {
        ...{ releaseDate: "1999", externalIds: [{ provider: "apple", id: "99" }] },
        tracks: [{ id: tracks[0].id, disc: 1, position: 7 }],
      }),
    );
    const merged = expectStatus(200, await merge("albums", deluxe.id, box.id)).body;
    expect(merged).to.deep.include({
      id: box.id,
      releaseDate: "1999",
      externalIds: [{ provider: "apple", id: "99" }],
    });
    expect(
      merged.tracks.map(({ title, position }: Record<string, unknown>) => [title, position]),
    ).to.deep.equal([
      ["One", 7],
      ["Two", null],
    ]);
    const plays = (await cast.user.get(`/api/v1/listening-history?albumId=${box.id}`)).body.data;
    expect(plays).to.have.length(3);
    const old = await cast.user.post("/api/v1/albums", { title: "box (deluxe)", artist: "Boxed" });
    expect(expectStatus(200, old).body.id).to.equal(box.id);
  });

  it("merges an artist with everything that is filed under it", async () => {
    const play = (n: number, artist: string, track: string, album: string | null = null) => ({
      ...{ playedAt: `2022-01-01T00:${String(n).padStart(2, "0")}:00Z`, artist, track, album },
    });
    await insertPlays(pool(), cast.userId, [
      play(1, "Led Zeppelin", "Kashmir", "Physical Graffiti"),
      play(2, "Led Zeppelin", "Ramble On"),
      play(3, "Led Zepelin", "Kashmir", "Physical Graffiti"),
      play(4, "Led Zepelin", "Black Dog", "IV"),
      play(5, "Led Zepelin", "Former Name"),
    ]);
    const find = async (name: string) =>
      expectStatus(200, await cast.user.post("/api/v1/artists", { name })).body;
    const wrong = await find("led zepelin");
    const right = await find("led zeppelin");
    const [former] = (await cast.user.get("/api/v1/tracks?q=former")).body.data;
    expectStatus(200, await cast.editor.patch(`/api/v1/tracks/${former.id}`, { title: "Latter Name" }));
    const credited = await make(cast.user, "tracks", {
      ...{ title: "Guest spot", artist: "Somebody Else" },
      artists: [{ id: wrong.id, role: "featured" }],
    });
    const duet = await make(cast.user, "tracks", {
      ...{ title: "Duet", artist: "Led Zeppelin" },
      artists: [{ id: right.id }, { id: wrong.id, role: "featured" }],
    });
    expectStatus(
      200,
      await cast.editor.patch(`/api/v1/artists/${wrong.id}`, {
        ...{ country: "GB", externalIds: [{ provider: "apple", id: "12" }] },
      }),
    );
    await pool().query("update artists set popularity = 2 where id = any($1)", [[wrong.id, right.id]]);

    const merged = expectStatus(200, await merge("artists", wrong.id, right.id)).body;
    expect(merged).to.deep.include({
      ...{ id: right.id, name: "Led Zeppelin", country: "GB", popularity: 4 },
      externalIds: [{ provider: "apple", id: "12" }],
    });
    expect(merged.albums.map(({ title }: { title: string }) => title).sort()).to.deep.equal([
      "IV",
      "Physical Graffiti",
    ]);
    expect(merged.topTracks.map(({ title }: { title: string }) => title).sort()).to.deep.equal([
      "Black Dog",
      "Duet",
      "Kashmir",
      "Latter Name",
      "Ramble On",
    ]);
    const plays = (await cast.user.get(`/api/v1/listening-history?artistId=${right.id}&limit=10`)).body.data;
    expect(plays.map(({ track }: { track: { title: string } }) => track.title)).to.deep.equal([
      ...["Latter Name", "Black Dog", "Kashmir", "Ramble On", "Kashmir"],
    ]);
    expect(new Set(plays.map(({ track }: { track: { id: number } }) => track.id)).size).to.equal(4);
    expect((await cast.user.get(`/api/v1/tracks/${credited.id}`)).body.artists).to.deep.equal([
      { id: right.id, name: "Led Zeppelin", role: "featured" },
    ]);
    expect((await cast.user.get(`/api/v1/tracks/${duet.id}`)).body.artists).to.deep.equal([
      { id: right.id, name: "Led Zeppelin", role: "main" },
    ]);

    // Names of then lead to where it is all filed now.
    for (const [kind, body, id] of [
      ["artists", { name: "LED ZEPELIN" }, right.id],
      ["tracks", { title: "former name", artist: "Led Zepelin" }, former.id],
      ["tracks", { title: "former name", artist: "Led Zeppelin" }, former.id],
      [
        "albums",
        { title: "iv", artist: "led zepelin" },
        merged.albums.find((a: { title: string }) => a.title === "IV").id,
      ],
    ] as const) {
      expect(expectStatus(200, await cast.user.post(`/api/v1/${kind}`, body)).body.id).to.equal(id);
    }
    const { rows } = await pool().query(
      `select count(*)::int as n from tracks t join artists a on a.id = t.artist_id
        where a.id = $1 and t.loose_key not like 'led zeppelin%'`,
      [right.id],
    );
    expect(rows).to.deep.equal([{ n: 0 }]);
  });

  it("leaves tracks and albums alone that are filed under no artist", async () => {
    await insertPlays(pool(), cast.userId, [
      { playedAt: "2021-01-01T00:00:00Z", artist: "[unknown]", track: "Intro", album: "Mixtape" },
    ]);
    const [nameless] = (await cast.user.get("/api/v1/tracks?q=intro")).body.data;
    const known = await make(cast.user, "tracks", { title: "Intro", artist: "The xx" });
    const [tape] = (await cast.user.get("/api/v1/albums?q=mixtape")).body.data;
    const album = await make(cast.user, "albums", { title: "xx", artist: "The xx" });
    for (const [kind, id, into] of [
      ["tracks", nameless.id, known.id],
      ["tracks", known.id, nameless.id],
      ["albums", tape.id, album.id],
    ] as const)
      expect(expectStatus(409, await merge(kind, id, into)).body.code).to.equal("reserved");
  });

  it("gives two editors who merge the same at once one outcome", async () => {
    const [a, b] = await Promise.all(
      ["A", "B"].map((letter) => make(cast.user, "artists", { name: `Twice ${letter}` })),
    );
    const answers = await Promise.all([
      merge("artists", a.id, b.id),
      merge("artists", b.id, a.id),
      merge("artists", a.id, b.id),
    ]);
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200).length).to.be.within(1, 2);
    expect(statuses.every((status) => status === 200 || status === 400)).to.equal(true);
    const shown = await Promise.all([a.id, b.id].map((id) => cast.user.get(`/api/v1/artists/${id}`)));
    expect(shown.map(({ status }) => status).sort()).to.deep.equal([200, 308]);
  });
});
