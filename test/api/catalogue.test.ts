import { expect } from "chai";
import { refreshPopularity } from "../../services/catalog/popularity.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { insertPlays } from "../support/plays.js";
import { until } from "../support/until.js";
import { buildCast, type Cast, make } from "./catalogueSupport.js";

const ARTISTS = "/api/v1/artists";
const ALBUMS = "/api/v1/albums";
const TRACKS = "/api/v1/tracks";
const SPOTIFY = (n: number): string => String(n).padStart(22, "S");
const NOWHERE = 4_000_000_000;

/** The same answer, in either encoding. */
const tagOfSame = (tag: string): RegExp => new RegExp(`^${tag.slice(0, -1)}(?:-gzip)?"$`);

describe("the catalogue over HTTP", () => {
  let app: TestApp;
  let cast: Cast;
  before(async () => {
    app = await startTestApp();
    cast = await buildCast(app);
  });
  after(() => app.close());

  describe("adding", () => {
    it("adds an artist once: other spellings of the name and its strong ids give the first", async () => {
      const body = {
        name: "Sigur Rós",
        country: "IS",
        externalIds: [
          { provider: "spotify", id: SPOTIFY(1) },
          { provider: "musicbrainz", id: "f6f2326f-6b25-4170-b89d-e235b25508e8" },
        ],
      };
      const made = expectStatus(201, await cast.user.post(ARTISTS, body));
      const { id } = made.body;
      expect(made.headers.get("location")).to.equal(`${ARTISTS}/${id}`);
      expect(made.body).to.deep.equal({
        ...{ id, name: "Sigur Rós", country: "IS", popularity: 0, albums: [], topTracks: [] },
        externalIds: [
          { provider: "musicbrainz", id: "f6f2326f-6b25-4170-b89d-e235b25508e8" },
          { provider: "spotify", id: SPOTIFY(1) },
        ],
      });
      const shown = expectStatus(200, await cast.user.get(`${ARTISTS}/${id}`));
      expect(shown.body).to.deep.equal(made.body);
      expect(shown.headers.get("etag")).to.contain(made.headers.get("etag")!.slice(1, -1));

      const again = { name: " SIGUR  RÓS", country: "FO" };
      expect(expectStatus(200, await cast.admin.post(ARTISTS, again)).body).to.deep.equal(made.body);
      const byId = { name: "Another Spelling", externalIds: body.externalIds.slice(0, 1) };
      expect(expectStatus(200, await cast.user.post(ARTISTS, byId)).body).to.deep.equal(made.body);
    });

    it("adds albums and tracks of artists that are named or there, and shows how they belong together", async () => {
      const artist = await make(cast.user, "artists", { name: "Portishead" });
      const guest = await make(cast.user, "artists", { name: "A Guest" });
      const track = await make(cast.user, "tracks", {
        ...{ title: "Roads", artistId: artist.id, durationMs: 304_000, isrc: "GBAAF9400001" },
        artists: [{ id: artist.id }, { id: guest.id, role: "featured" }],
      });
      const other = await make(cast.user, "tracks", { title: "Strangers", artist: "PORTISHEAD" });
      const album = await make(cast.user, "albums", {
        ...{ title: "Dummy", artist: "Portishead", releaseDate: "1994-08-22" },
        tracks: [
          { id: track.id, disc: 1, position: 8 },
          { id: other.id, disc: 1, position: 3 },
        ],
      });

      const named = { id: artist.id, name: "Portishead" };
      expect((await cast.user.get(`${TRACKS}/${track.id}`)).body).to.deep.equal({
        ...{ id: track.id, title: "Roads", durationMs: 304_000, isrc: "GBAAF9400001", popularity: 0 },
        artist: named,
        artists: [
          { ...named, role: "main" },
          { id: guest.id, name: "A Guest", role: "featured" },
        ],
        albums: [{ id: album.id, title: "Dummy", disc: 1, position: 8 }],
        externalIds: [{ provider: "isrc", id: "GBAAF9400001" }],
      });
      expect(other).to.deep.include({ artist: named, artists: [{ ...named, role: "main" }], albums: [] });
      expect((await cast.user.get(`${ALBUMS}/${album.id}`)).body).to.deep.equal({
        ...{ id: album.id, title: "Dummy", artist: named, releaseDate: "1994-08-22", externalIds: [] },
        tracks: [
          { id: other.id, title: "Strangers", disc: 1, position: 3, durationMs: null },
          { id: track.id, title: "Roads", disc: 1, position: 8, durationMs: 304_000 },
        ],
      });
      const { body } = await cast.user.get(`${ARTISTS}/${artist.id}`);
      expect(body.albums).to.deep.equal([{ id: album.id, title: "Dummy", releaseDate: "1994-08-22" }]);
      expect(body.topTracks.map(({ title }: { title: string }) => title)).to.have.members([
        "Roads",
        "Strangers",
      ]);

      for (const [path, again] of [
        [ALBUMS, { title: "DUMMY", artistId: artist.id }],
        [TRACKS, { title: "Something else", artist: "Somebody", isrc: "GBAAF9400001" }],
      ] as const) {
        const found = expectStatus(200, await cast.user.post(path, again)).body;
        expect(found.id).to.equal(path === ALBUMS ? album.id : track.id);
      }
    });

    it("refuses strong ids of another one than the name, and says whose they are", async () => {
      const one = await make(cast.user, "artists", {
        name: "Owner One",
        externalIds: [{ provider: "spotify", id: SPOTIFY(11) }],
      });
      await make(cast.user, "artists", {
        name: "Owner Two",
        externalIds: [{ provider: "spotify", id: SPOTIFY(12) }],
      });
      const both = [11, 12].map((n) => ({ provider: "spotify", id: SPOTIFY(n) }));
      for (const body of [
        { name: "Owner Two", externalIds: both.slice(0, 1) },
        { name: "Nobody Yet", externalIds: both },
      ]) {
        const { errors, code } = expectStatus(409, await cast.user.post(ARTISTS, body)).body;
        expect(code).to.equal("taken");
        expect(errors[0].message).to.match(/belongs to artist \d+.*merge/);
        expect(errors[0].path).to.match(/^externalIds\.[01]$/);
      }
      const { body } = await cast.user.get(`${ARTISTS}/${one.id}`);
      expect(body.externalIds).to.deep.equal(both.slice(0, 1));
      expect((await cast.user.get(`${ARTISTS}?q=nobody`)).body.data).to.deep.equal([]);
    });

    it("gives everybody who adds the same at once the same one", async () => {
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, n) =>
          cast.user.post(TRACKS, { title: "At once", artist: n % 2 === 0 ? "Racer" : "RACER" }),
        ),
      );
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([...Array(7).fill(200), 201]);
      expect(new Set(answers.map(({ body }) => body.id)).size).to.equal(1);
    });

    const BAD: readonly (readonly [path: string, body: object, errors: readonly string[]])[] = [
      [ARTISTS, {}, ["name required"]],
      [ARTISTS, { name: "", country: "is" }, ["name empty", "country bad_format"]],
      [ARTISTS, { name: " \t" }, ["name bad_format"]],
      [ARTISTS, { name: "a\0b" }, ["name text_nul"]],
      [ARTISTS, { name: "x".repeat(4097) }, ["name too_long"]],
      [ARTISTS, { name: 5, popularity: 9 }, ["name wrong_type", "popularity unknown_field"]],
      [ARTISTS, { name: "x", id: 1, version: 1 }, ["id unknown_field", "version unknown_field"]],
      [
        ARTISTS,
        { name: "x", externalIds: [{ provider: "fax", id: "1" }, { provider: "spotify", id: "short" }, {}] },
        [
          "externalIds.0.provider not_allowed",
          "externalIds.1 bad_format",
          "externalIds.2.provider required",
          "externalIds.2.id required",
        ],
      ],
      [ALBUMS, { title: "x" }, [" required"]],
      [ALBUMS, { title: "x", artist: "a", artistId: 1 }, [" conflicting"]],
      [ALBUMS, { title: "x", artistId: NOWHERE }, ["artistId not_found"]],
      [ALBUMS, { title: "x", artist: "a", releaseDate: "2023-02-30" }, ["releaseDate bad_format"]],
      [ALBUMS, { title: "x", artist: "a", releaseDate: "99" }, ["releaseDate bad_format"]],
      [ALBUMS, { title: "x", artist: "a", tracks: [{ id: NOWHERE }] }, ["tracks.0.id not_found"]],
      [
        ALBUMS,
        { title: "x", artist: "a", tracks: [{ id: 1, disc: 0, position: 1.5 }] },
        ["tracks.0.disc out_of_range", "tracks.0.position bad_number"],
      ],
      [TRACKS, { title: "x", artistId: "1" }, ["artistId wrong_type"]],
      [TRACKS, { title: "x", artist: "a", durationMs: 0 }, ["durationMs out_of_range"]],
      [TRACKS, { title: "x", artist: "a", isrc: "nonsense" }, ["isrc bad_format"]],
      [TRACKS, { title: "x", artist: "a", artists: [{ id: NOWHERE }] }, ["artists.0.id not_found"]],
      [
        TRACKS,
        { title: "x", artist: "a", artists: [{ id: 1, role: "roadie" }] },
        ["artists.0.role not_allowed"],
      ],
    ];
    it("names everything that is wrong with what is to be added, and adds nothing", async () => {
      const count = async () =>
        (
          await app.deps.database.pool.query<{ n: number }>(
            "select (select count(*) from albums) + (select count(*) from tracks) + (select count(*) from artists) as n",
          )
        ).rows[0]!.n;
      const before = await count();
      for (const [path, body, errors] of BAD) {
        const answer = expectStatus(400, await cast.user.post(path, body)).body;
        const said = answer.errors.map(
          (error: { path: string; code: string }) => `${error.path} ${error.code}`,
        );
        expect(said, JSON.stringify(body).slice(0, 100)).to.have.members([...errors]);
      }
      expect(await count()).to.equal(before);
    });
  });

  describe("lists", () => {
    const names = [
      "Zeta",
      "alpha",
      "Alphabet",
      "ALPINE",
      "Ångström",
      "日本",
      `${"long ".repeat(150)}a`,
      `${"long ".repeat(150)}b`,
    ];
    before(async () => {
      for (const [n, name] of names.entries()) {
        const artist = await make(cast.user, "artists", { name: `List ${name}` });
        await app.deps.database.pool.query("update artists set popularity = $2 where id = $1", [
          artist.id,
          (n * 7) % 4,
        ]);
        await make(cast.user, "albums", { title: "List album", artistId: artist.id });
        await make(cast.user, "tracks", { title: `List ${name}`, artistId: artist.id });
      }
    });

    async function walk(path: string, limit: number): Promise<string[]> {
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const query: string = cursor === null ? "" : `&cursor=${cursor}`;
        const { body } = expectStatus(200, await cast.user.get(`${path}&limit=${limit}${query}`));
        seen.push(
          ...body.data.map((item: { id: number; name?: string; title?: string }) => item.name ?? item.title),
        );
        cursor = body.nextCursor;
      } while (cursor !== null);
      return seen;
    }

    it("are walked in order of names or of plays, by pages of any size", async () => {
      const byName = ["alpha", "Alphabet", "ALPINE", "long a", "long b", "Zeta", "Ångström", "日本"];
      const short = (all: readonly string[]) =>
        all.map((name) => name.replace("List ", "").replace(/(long )+/, "long "));
      for (const limit of [1, 3, 100]) {
        expect(short(await walk(`${ARTISTS}?q=list&sort=name`, limit))).to.deep.equal(byName);
        expect(short(await walk(`${TRACKS}?q=LIST&sort=name`, limit))).to.deep.equal(byName);
        expect(await walk(`${ALBUMS}?q=list&sort=name`, limit)).to.have.length(names.length);
      }
      const all = await walk(`${ARTISTS}?q=list&sort=popular`, 100);
      for (const limit of [1, 3])
        expect(await walk(`${ARTISTS}?q=list&sort=popular`, limit)).to.deep.equal(all);
      const popularity = (await cast.user.get(`${ARTISTS}?q=list`)).body.data.map(
        (artist: { popularity: number }) => artist.popularity,
      );
      expect(popularity).to.deep.equal(popularity.toSorted((a: number, b: number) => b - a));
      expect(new Set(popularity).size).to.equal(4);
    });

    it("take q for the beginning of a name in any spelling, and its wildcards for what they are", async () => {
      const found = async (q: string) =>
        (await cast.user.get(`${ARTISTS}?sort=name&q=${encodeURIComponent(q)}`)).body.data.map(
          (artist: { name: string }) => artist.name,
        );
      expect(await found("list ALP")).to.deep.equal(["List alpha", "List Alphabet", "List ALPINE"]);
      expect(await found("List  日")).to.deep.equal(["List 日本"]);
      expect(await found("list al%")).to.deep.equal([]);
      expect(await found("list al_")).to.deep.equal([]);
    });

    it("can be of one artist", async () => {
      const [{ id }] = (await cast.user.get(`${ARTISTS}?q=list%20zeta`)).body.data;
      const albums = (await cast.user.get(`${ALBUMS}?artistId=${id}`)).body.data;
      expect(albums).to.have.length(1);
      expect(albums[0]).to.have.all.keys("id", "title", "artist", "releaseDate", "externalIds");
      const tracks = (await cast.user.get(`${TRACKS}?artistId=${id}`)).body.data;
      expect(tracks.map(({ title }: { title: string }) => title)).to.deep.equal(["List Zeta"]);
      expect((await cast.user.get(`${TRACKS}?artistId=${NOWHERE}`)).body.data).to.deep.equal([]);
    });

    it("refuse what is no query of theirs", async () => {
      const first = expectStatus(200, await cast.user.get(`${ARTISTS}?sort=name&limit=1`)).body.nextCursor;
      for (const query of [
        `sort=popular&cursor=${first}`,
        "cursor=nonsense",
        "sort=new",
        "limit=0",
        "limit=1001",
        "q=",
        "q=%00",
        "artistId=1",
      ]) {
        expectStatus(400, await cast.user.get(`${ARTISTS}?${query}`));
      }
      expectStatus(400, await cast.user.get(`${TRACKS}?sort=name&cursor=${first}`));
    });

    it("show what was added since they were last asked for", async () => {
      const path = `${ARTISTS}?q=fresh`;
      expect((await cast.user.get(path)).body.data).to.deep.equal([]);
      const { id } = await make(cast.user, "artists", { name: "Fresh" });
      expect((await cast.user.get(path)).body.data.map((artist: { id: number }) => artist.id)).to.deep.equal([
        id,
      ]);
      await make(cast.user, "albums", { title: "Fresher", artistId: id });
      expect((await cast.user.get(`${ARTISTS}/${id}`)).body.albums).to.have.length(1);
    });
  });

  describe("changing", () => {
    it("is for editors and admins, whatever is to be changed", async () => {
      const artist = await make(cast.user, "artists", { name: "Of roles" });
      const album = await make(cast.user, "albums", { title: "Of roles", artistId: artist.id });
      const track = await make(cast.user, "tracks", { title: "Of roles", artistId: artist.id });
      const writes = [
        ["PUT", `${ARTISTS}/${artist.id}`, { name: "Of roles" }],
        ["PATCH", `${ARTISTS}/${artist.id}`, { country: "NL" }],
        ["POST", `${ARTISTS}/${artist.id}/merge`, { into: artist.id }],
        ["PUT", `${ALBUMS}/${album.id}`, { title: "Of roles" }],
        ["PATCH", `${ALBUMS}/${album.id}`, { releaseDate: "2001" }],
        ["POST", `${ALBUMS}/${album.id}/merge`, { into: album.id }],
        ["PUT", `${TRACKS}/${track.id}`, { title: "Of roles" }],
        ["PATCH", `${TRACKS}/${track.id}`, { durationMs: 1000 }],
        ["POST", `${TRACKS}/${track.id}/merge`, { into: track.id }],
      ] as const;
      for (const [method, path, body] of writes) {
        const name = `${method} ${path}`;
        expect((await app.anonymous.request(method, path, body)).status, name).to.equal(401);
        const refused = await cast.user.request(method, path, body);
        expect([refused.status, refused.body.code], name).to.deep.equal([403, "role_required"]);
        const done = path.endsWith("/merge") ? 400 : 200; // nothing can be merged into itself
        for (const client of [cast.editor, cast.admin])
          expect((await client.request(method, path, body)).status, name).to.equal(done);
        const nowhere = path.replace(/\d+/g, (digits) => (digits === "1" ? digits : String(NOWHERE)));
        expect((await cast.editor.request(method, nowhere, body)).status, name).to.equal(404);
      }
      for (const id of ["0", "-1", "01", "1.5", "x", "9007199254740992"])
        expectStatus(404, await cast.user.get(`${ARTISTS}/${id}`));
    });

    it("replaces everything by PUT, and what is given by PATCH", async () => {
      const artist = await make(cast.user, "artists", { name: "Edited", country: "SE" });
      const track = await make(cast.user, "tracks", { title: "Edited", artistId: artist.id });
      const path = `${ARTISTS}/${artist.id}`;
      const ids = [{ provider: "spotify", id: SPOTIFY(21) }];
      const patched = expectStatus(200, await cast.editor.patch(path, { externalIds: ids })).body;
      expect(patched).to.deep.include({ name: "Edited", country: "SE", externalIds: ids });
      const put = expectStatus(200, await cast.editor.put(path, { name: "Edited" })).body;
      expect(put).to.deep.include({ country: null, externalIds: [] });
      expect((await cast.user.get(path)).body).to.deep.equal(put);

      const at = `${TRACKS}/${track.id}`;
      await cast.editor.patch(at, { isrc: "SEABC0000001", durationMs: 5000 });
      const more = { externalIds: [{ provider: "apple", id: "77" }] };
      const both = expectStatus(200, await cast.editor.patch(at, more)).body;
      expect(both).to.deep.include({ isrc: "SEABC0000001", durationMs: 5000 });
      expect(both.externalIds).to.deep.equal([...more.externalIds, { provider: "isrc", id: "SEABC0000001" }]);
      const without = expectStatus(200, await cast.editor.patch(at, { isrc: null })).body;
      expect(without).to.deep.include({ isrc: null, externalIds: more.externalIds });
      const bare = expectStatus(200, await cast.editor.put(at, { title: "Edited" })).body;
      expect(bare).to.deep.include({ isrc: null, durationMs: null, externalIds: [] });
      expectStatus(400, await cast.editor.patch(at, {}));
    });

    it("places tracks on albums and takes none away", async () => {
      const album = await make(cast.user, "albums", { title: "Placed", artist: "Placer" });
      const [one, two] = await Promise.all(
        ["One", "Two"].map((title) => make(cast.user, "tracks", { title, artist: "Placer" })),
      );
      const path = `${ALBUMS}/${album.id}`;
      const placed = (body: { tracks: { title: string; position: number | null }[] }) =>
        body.tracks.map(({ title, position }) => `${title} ${position}`);
      const tracks = [
        { id: two.id, position: 1 },
        { id: one.id, position: 2 },
      ];
      expect(placed(expectStatus(200, await cast.editor.patch(path, { tracks })).body)).to.deep.equal([
        "Two 1",
        "One 2",
      ]);
      const fewer = { tracks: [{ id: one.id, disc: 1, position: 1 }] };
      expect(placed(expectStatus(200, await cast.editor.patch(path, fewer)).body)).to.deep.equal([
        "One 1",
        "Two null",
      ]);
    });

    it("keeps the old name as a way to the same one, and back again", async () => {
      const artist = await make(cast.user, "artists", { name: "Prince" });
      const track = await make(cast.user, "tracks", { title: "Kiss", artistId: artist.id });
      const album = await make(cast.user, "albums", { title: "Parade", artistId: artist.id });
      const path = `${ARTISTS}/${artist.id}`;
      expectStatus(200, await cast.editor.patch(path, { name: "The Artist" }));
      expectStatus(200, await cast.editor.patch(`${TRACKS}/${track.id}`, { title: "Kiss (single)" }));
      expectStatus(200, await cast.editor.patch(`${ALBUMS}/${album.id}`, { title: "Under the Cherry Moon" }));
      for (const [list, body, id] of [
        [ARTISTS, { name: "PRINCE" }, artist.id],
        [TRACKS, { title: "kiss", artist: "prince" }, track.id],
        [ALBUMS, { title: "parade", artist: "the artist" }, album.id],
      ] as const) {
        expect(expectStatus(200, await cast.user.post(list, body)).body.id).to.equal(id);
      }
      const taken = expectStatus(
        409,
        await cast.editor.post(ARTISTS, {
          name: "Prince",
          externalIds: [{ provider: "spotify", id: SPOTIFY(12) }],
        }),
      );
      expect(taken.body.code).to.equal("taken");
      expect(expectStatus(200, await cast.editor.patch(path, { name: "Prince" })).body.name).to.equal(
        "Prince",
      );
      expect(expectStatus(200, await cast.user.post(ARTISTS, { name: "the artist" })).body.id).to.equal(
        artist.id,
      );
    });

    it("refuses a name that another one has or had, and says who", async () => {
      const one = await make(cast.user, "artists", { name: "Taken name" });
      const two = await make(cast.user, "artists", { name: "Free name" });
      expectStatus(200, await cast.editor.patch(`${ARTISTS}/${one.id}`, { name: "Taken now" }));
      for (const name of ["TAKEN NAME", "taken now"]) {
        const { body } = expectStatus(409, await cast.editor.patch(`${ARTISTS}/${two.id}`, { name }));
        expect(body.code).to.equal("taken");
        expect(body.detail).to.contain(`artist ${one.id}`).and.contain(`/api/v1/artists/${two.id}/merge`);
      }
      const tracks = await Promise.all(
        ["First", "Second"].map((title) => make(cast.user, "tracks", { title, artistId: one.id })),
      );
      const clash = await cast.editor.put(`${TRACKS}/${tracks[1].id}`, { title: "first" });
      expect(expectStatus(409, clash).body.errors[0]).to.include({ path: "title", code: "taken" });
      const albums = await Promise.all(
        ["First", "Second"].map((title) => make(cast.user, "albums", { title, artistId: one.id })),
      );
      expectStatus(409, await cast.editor.put(`${ALBUMS}/${albums[1].id}`, { title: "FIRST" }));
      const id = { provider: "apple", id: "4711" };
      expectStatus(200, await cast.editor.patch(`${TRACKS}/${tracks[0].id}`, { externalIds: [id] }));
      const owned = await cast.editor.patch(`${TRACKS}/${tracks[1].id}`, { externalIds: [id] });
      expect(expectStatus(409, owned).body.errors[0].path).to.equal("externalIds.0");
    });

    it("leaves the reserved artist alone", async () => {
      const { id } = expectStatus(200, await cast.user.post(ARTISTS, { name: "[unknown]" })).body;
      const other = await make(cast.user, "artists", { name: "Not reserved" });
      for (const answer of [
        await cast.editor.patch(`${ARTISTS}/${id}`, { name: "Known" }),
        await cast.editor.post(`${ARTISTS}/${id}/merge`, { into: other.id }),
        await cast.editor.post(`${ARTISTS}/${other.id}/merge`, { into: id }),
      ])
        expect(expectStatus(409, answer).body.code).to.equal("reserved");
      expect(
        expectStatus(409, await cast.editor.patch(`${ARTISTS}/${other.id}`, { name: "[Unknown]" })).body.code,
      ).to.equal("taken");
    });

    it("happens only to what the editor has seen, when If-Match says so", async () => {
      for (const [list, body, field] of [
        [ARTISTS, { name: "Matched" }, "name"],
        [ALBUMS, { title: "Matched", artist: "Matched" }, "title"],
        [TRACKS, { title: "Matched", artist: "Matched" }, "title"],
      ] as const) {
        const made = await make(cast.user, list.slice("/api/v1/".length) as "artists", body);
        const path = `${list}/${made.id}`;
        const tag = (await cast.user.get(path)).headers.get("etag")!;
        const change = (value: string) =>
          cast.editor.patch(path, { [field]: value }, { headers: { "If-Match": tag } });
        const racers = await Promise.all([change("Left"), change("Right")]);
        expect(racers.map(({ status }) => status).sort(), list).to.deep.equal([200, 412]);
        const won = racers.find(({ status }) => status === 200)!;
        const now = await cast.user.get(path);
        expect(now.body).to.deep.equal(won.body);
        expectStatus(412, await change("Late"));
        const merge = await cast.editor.post(
          `${path}/merge`,
          { into: NOWHERE },
          { headers: { "If-Match": tag } },
        );
        expectStatus(400, merge);
        expectStatus(
          200,
          await cast.editor.put(
            path,
            { [field]: "At last" },
            { headers: { "If-Match": won.headers.get("etag")! } },
          ),
        );
      }
    });

    it("is not refused because plays were counted meanwhile, or others added what the editor does not change", async () => {
      const plays = Array.from({ length: 12 }, (_, n) => ({
        playedAt: `2024-04-${10 + n}T10:00:00Z`,
        artist: "Counted artist",
        track: n < 3 ? "Counted track" : `A song of the counted artist, number ${n}`,
      }));
      await insertPlays(app.deps.database.pool, cast.userId, plays);
      const named = async (list: string, q: string) =>
        (await cast.user.get(`${list}?q=${encodeURIComponent(q)}`)).body.data[0];
      for (const [list, name, change, other, playedAt] of [
        [ARTISTS, "Counted artist", { country: "IS" }, { country: "NO" }, "2024-03-04T10:00:00Z"],
        [TRACKS, "Counted track", { durationMs: 180_000 }, { durationMs: 170_000 }, "2024-03-05T10:00:00Z"],
      ] as const) {
        const path = `${list}/${(await named(list, name)).id}`;
        const before = await cast.user.get(path);
        const tag = before.headers.get("etag")!;
        expect((await cast.user.get(path)).headers.get("etag"), "from the cache").to.equal(tag);
        const again = await cast.user.get(path, { headers: { "If-None-Match": tag } });
        expectStatus(304, again);

        await insertPlays(app.deps.database.pool, cast.userId, [
          { ...plays[0]!, playedAt, album: `Of ${name}` },
        ]);
        await until("the numbers are there", async () => {
          await refreshPopularity({ pool: app.deps.database.pool, leastPauseMs: 0 });
          const now = await cast.user.get(path, { headers: { "If-None-Match": tag } });
          return now.status === 200 && now.body.popularity > before.body.popularity;
        });

        const edited = expectStatus(
          200,
          await cast.editor.patch(path, change, { headers: { "If-Match": `"other", ${tag}` } }),
        );
        expect(edited.body).to.deep.include(change);
        expect((await cast.user.get(path)).headers.get("etag")).to.match(
          tagOfSame(edited.headers.get("etag")!),
        );
        expectStatus(412, await cast.editor.patch(path, other, { headers: { "If-Match": tag } }));
        for (const wrong of [`W/${edited.headers.get("etag")!}`, '"x"', tag.replace(".", "")]) {
          expectStatus(412, await cast.editor.patch(path, other, { headers: { "If-Match": wrong } }));
        }
        const shown = (await cast.user.get(path)).headers.get("etag")!;
        expectStatus(200, await cast.editor.patch(path, other, { headers: { "If-Match": shown } }));
      }
    });

    it("shows at once in what was cached: a play's title and artist, and lists", async () => {
      await insertPlays(app.deps.database.pool, cast.userId, [
        {
          playedAt: "2024-05-01T10:00:00Z",
          artist: "Cached artist",
          track: "Cached track",
          album: "Cached album",
        },
      ]);
      const plays = async () => (await cast.user.get("/api/v1/listening-history")).body.data[0];
      const { track, artist, album } = await plays();
      expect([track.title, artist.name, album.title]).to.deep.equal([
        "Cached track",
        "Cached artist",
        "Cached album",
      ]);
      const listed = async () => (await cast.user.get(`${TRACKS}?q=cached`)).body.data;
      expect(await listed()).to.have.length(1);
      expectStatus(200, await cast.editor.patch(`${TRACKS}/${track.id}`, { title: "Renamed track" }));
      expectStatus(200, await cast.editor.patch(`${ARTISTS}/${artist.id}`, { name: "Renamed artist" }));
      expectStatus(200, await cast.editor.patch(`${ALBUMS}/${album.id}`, { title: "Renamed album" }));
      const now = await plays();
      expect([now.track.title, now.artist.name, now.album.title]).to.deep.equal([
        "Renamed track",
        "Renamed artist",
        "Renamed album",
      ]);
      expect(await listed()).to.deep.equal([]);
    });
  });
});
