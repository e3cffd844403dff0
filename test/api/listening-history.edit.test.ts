import { expect } from "chai";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer, RequestOptions } from "../support/http.js";
import { insertPlays, type PlaySpec } from "../support/plays.js";

const PATH = "/api/v1/listening-history";

describe("correcting a play", () => {
  let app: TestApp;
  let user: TestUser;

  before(async () => {
    app = await startTestApp();
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  const AT = "2024-05-01T10:20:30.000Z";
  const insert = async (spec: Partial<PlaySpec> = {}, owner = user): Promise<number> => {
    const fields = { playedAt: AT, artist: "Portishead", track: "Roads", album: "Dummy", ...spec };
    const [id = 0] = await insertPlays(app.deps.database.pool, owner.id, [fields]);
    return id;
  };
  const at = (id: number): string => `${PATH}/${id}`;
  const show = async (id: number, by = user) => expectStatus(200, await app.as(by).get(at(id))).body;
  const put = (id: number, body: unknown, options?: RequestOptions): Promise<Answer> =>
    app.as(user).put(at(id), body, options);
  const patch = (id: number, body: unknown, options?: RequestOptions): Promise<Answer> =>
    app.as(user).patch(at(id), body, options);
  const ifMatch = (tag: string | null): RequestOptions => ({ headers: { "if-match": tag ?? "" } });
  const rows = async <T>(sql: string, ...values: unknown[]): Promise<T[]> =>
    (await app.deps.database.pool.query(sql, values)).rows as T[];
  const firstPage = async () => expectStatus(200, await app.as(user).get(PATH)).body.data;

  it("replaces what can be corrected, and makes null of what is left out", async () => {
    const id = await insert({ source: "spotify-extended", msPlayed: 250_000, context: { platform: "ios" } });
    const before = await show(id);
    const track = { title: "Strangers", artist: "Portishead", album: "Dummy" };
    const answer = expectStatus(200, await put(id, { playedAt: "2024-05-02T00:00:00+02:00", track }));
    expect(answer.body).to.deep.equal({
      ...before,
      playedAt: "2024-05-01T22:00:00.000Z",
      msPlayed: null,
      track: { id: answer.body.track.id, title: "Strangers", durationMs: null },
      updatedAt: answer.body.updatedAt,
    });
    expect(answer.body.updatedAt).to.not.equal(before.updatedAt);
    expect(answer.body.track.id).to.not.equal(before.track.id);
    expect(await show(id)).to.deep.equal(answer.body);

    const byId = expectStatus(200, await put(id, { playedAt: AT, msPlayed: 10, trackId: before.track.id }));
    expect(byId.body).to.include({ playedAt: AT, msPlayed: 10, album: null, counted: false });
    expect(byId.body.track).to.deep.equal(before.track);
  });

  it("changes what is given, and nothing else", async () => {
    const id = await insert();
    const before = await show(id);
    const changed = async (body: object) => {
      const previous = await show(id);
      const { body: now } = expectStatus(200, await patch(id, body));
      const fields = Object.keys(now).filter(
        (key) => JSON.stringify(now[key]) !== JSON.stringify(previous[key]),
      );
      return fields.filter((field) => field !== "updatedAt").join(" ");
    };
    expect(await changed({ msPlayed: 1000 })).to.equal("msPlayed counted");
    expect(await changed({ msPlayed: null })).to.equal("msPlayed counted");
    expect(await changed({ playedAt: "2024-05-01T10:20:31Z" })).to.equal("playedAt");
    expect(await changed({ albumId: null })).to.equal("album");
    expect(await changed({ albumId: before.album.id })).to.equal("album");
    expect(await changed({ track: { title: "Sour Times", artist: "Portishead", album: "Dummy" } })).to.equal(
      "track",
    );
    expect(await changed({ track: { title: "Teardrop", artist: "Massive Attack" } })).to.equal(
      "track artist album",
    );
    expect(await changed({ trackId: before.track.id, albumId: before.album.id })).to.equal(
      "track artist album",
    );
    expect(await changed({ trackId: before.track.id }), "the track that it is").to.equal("");
    expect(await changed({ trackId: before.track.id, albumId: null })).to.equal("album");
    expect(await changed({ albumId: before.album.id })).to.equal("album");
    expect(
      await changed({ track: { title: "Roads", artist: "Portishead", album: "Dummy", durationMs: 305_000 } }),
    ).to.equal("");
    expect(await changed({ msPlayed: 152_499 })).to.equal("msPlayed counted");
    expect(await changed({ msPlayed: 152_500 })).to.equal("msPlayed counted");
  });

  it("keeps the identity of the play and tells the start exactly, and how it ended no more", async () => {
    const id = await insert({ source: "spotify-account", playedAt: "2024-05-01T10:20:00Z" });
    await rows(
      `update listening_history set precision = 'minute', ended_at = played_at + interval '3 minutes',
         start_earliest = played_at - interval '10 minutes' where id = $1`,
      id,
    );
    const frozen = () =>
      rows(
        `select encode(source_key, 'hex') as key, source, import_job_id, created_at from listening_history where id = $1`,
        id,
      );
    const before = await frozen();
    expectStatus(200, await patch(id, { msPlayed: 5 }));
    const range = () =>
      rows(
        `select precision, ended_at is null as open, extract(epoch from start_latest - start_earliest)::integer as seconds,
                version from listening_history where id = $1`,
        id,
      );
    expect(await range()).to.deep.equal([{ precision: "minute", open: false, seconds: 600, version: 2 }]);
    expectStatus(200, await patch(id, { playedAt: "2024-05-01T10:21:07Z" }));
    expect(await range()).to.deep.equal([{ precision: "second", open: true, seconds: 4, version: 3 }]);
    expect(await frozen()).to.deep.equal(before);
  });

  it("writes nothing when nothing differs, and keeps times more exactly than they are shown", async () => {
    const id = await insert({ playedAt: "2024-05-01T10:20:30.123456Z" });
    const exact = () =>
      rows("select played_at::text as at, version from listening_history where id = $1", id);
    const first = await exact();
    const before = await show(id);
    expectStatus(200, await patch(id, { playedAt: "2024-05-01T10:20:30.123Z", msPlayed: before.msPlayed }));
    expect(await exact()).to.deep.equal(first);
    expectStatus(200, await patch(id, { msPlayed: 1 }));
    expect(await exact()).to.deep.equal([{ ...first[0]!, version: 2 }]);
  });

  it("shows in the first page of the history at once, in its new place", async () => {
    const older = await insert({ playedAt: "2024-01-01T00:00:00Z" });
    const newer = await insert({ playedAt: "2024-01-02T00:00:00Z" });
    const order = async (): Promise<number[]> => (await firstPage()).map(({ id }: { id: number }) => id);
    expect(await order()).to.deep.equal([newer, older]);
    expectStatus(200, await patch(older, { playedAt: "2024-01-03T00:00:00Z" }));
    expect(await order()).to.deep.equal([older, newer]);
  });

  describe("only while it is as the editor saw it", () => {
    it("takes the tag of GET, of PUT and of PATCH, and refuses any other", async () => {
      const id = await insert();
      const seen = await app.as(user).get(at(id));
      const old = seen.headers.get("etag");
      expect(old).to.be.a("string");
      const first = expectStatus(200, await patch(id, { msPlayed: 1 }, ifMatch(old)));
      for (const tag of [old, '"x"', `W/${first.headers.get("etag")}`]) {
        const stale = expectStatus(412, await patch(id, { msPlayed: 2 }, ifMatch(tag)));
        expect(stale.body.code).to.equal("precondition_failed");
        expect((await put(id, { playedAt: AT, trackId: first.body.track.id }, ifMatch(tag))).status).to.equal(
          412,
        );
        expect((await app.as(user).delete(at(id), undefined, ifMatch(tag))).status).to.equal(412);
      }
      expect(await show(id)).to.deep.equal(first.body);
      const second = expectStatus(200, await patch(id, { msPlayed: 3 }, ifMatch(first.headers.get("etag"))));
      const body = { playedAt: AT, trackId: first.body.track.id };
      expectStatus(200, await put(id, body, ifMatch(`"other", ${second.headers.get("etag")}`)));
      expectStatus(200, await patch(id, { msPlayed: 4 }, ifMatch("*")));
      expectStatus(204, await app.as(user).delete(at(id), undefined, ifMatch("*")));
    });

    it("lets one of two who saw the same change it", async () => {
      for (let round = 0; round < 5; round += 1) {
        const id = await insert();
        const tag = (await app.as(user).get(at(id))).headers.get("etag");
        const answers = await Promise.all([
          patch(id, { msPlayed: 1111 }, ifMatch(tag)),
          patch(id, { playedAt: "2024-06-01T00:00:00Z" }, ifMatch(tag)),
        ]);
        expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 412]);
        const won = answers.find(({ status }) => status === 200);
        expect(await show(id)).to.deep.equal(won?.body);
      }
    });

    it("sees a title that was corrected in the catalogue as a change", async () => {
      const id = await insert({ artist: "Tricky", track: "Overcome" });
      const tag = (await app.as(user).get(at(id))).headers.get("etag");
      await rows("update tracks set title = 'Overcome (live)' where title = 'Overcome'");
      expectStatus(412, await patch(id, { msPlayed: 1 }, ifMatch(tag)));
    });
  });

  it("answers 404 for a play that is another's, as for one that never was, and leaves it", async () => {
    const owner = await buildUser(app);
    await rows("update users set history_visibility = 'public' where id = $1", owner.id);
    const id = await insert({}, owner);
    const before = await show(id, owner);
    const tried = async (target: number | string) => {
      const path = `${PATH}/${target}`;
      const answers = [
        await app.as(user).put(path, { playedAt: AT, track: { title: "Stolen", artist: "Thief" } }),
        await app.as(user).patch(path, { msPlayed: 1 }),
        await app.as(user).patch(path, { track: { title: "Stolen", artist: "Thief" } }, ifMatch('"x"')),
        await app.as(user).post(`${path}/unlink`),
        await app.as(user).delete(path),
      ];
      return answers.map(({ status, body }) => ({ status, ...body, requestId: "" }));
    };
    const foreign = await tried(id);
    expect(foreign.map(({ status }) => status)).to.deep.equal([404, 404, 404, 404, 404]);
    expect(foreign).to.deep.equal(await tried(Number.MAX_SAFE_INTEGER));
    for (const bad of ["0", "-1", "1.5", "abc", "1e3", "9007199254740992"]) {
      expect(
        (await tried(bad)).map(({ status }) => status),
        bad,
      ).to.deep.equal([404, 404, 404, 404, 404]);
    }
    expect(await show(id, owner)).to.deep.equal(before);
    expect(await rows("select from artists where name = 'Thief'")).to.deep.equal([]);
    for (const method of ["PUT", "PATCH", "DELETE"]) {
      expect((await app.anonymous.request(method, at(id), { msPlayed: 1 })).status).to.equal(401);
    }
  });

  it("refuses what no play can be, and changes nothing", async () => {
    const id = await insert();
    const before = await show(id);
    const track = { title: "x", artist: "y" };
    const refused = async (answer: Promise<Answer>): Promise<string[]> =>
      (expectStatus(400, await answer).body.errors as { path: string; code: string }[]).map(
        ({ path, code }) => `${path} ${code}`,
      );
    expect(await refused(patch(id, {}))).to.deep.equal([" required"]);
    expect(await refused(put(id, { msPlayed: 1 }))).to.have.members(["playedAt required", " required"]);
    expect(await refused(put(id, { playedAt: AT }))).to.deep.equal([" required"]);
    expect(await refused(patch(id, { trackId: 1, track }))).to.deep.equal([" conflicting"]);
    expect(await refused(patch(id, { albumId: 1, track }))).to.deep.equal([" conflicting"]);
    expect(await refused(patch(id, { albumId: 999_999 }))).to.deep.equal(["albumId not_found"]);
    expect(await refused(patch(id, { trackId: 999_999 }))).to.deep.equal(["trackId not_found"]);
    expect(await refused(put(id, { playedAt: AT, trackId: 999_999 }))).to.deep.equal(["trackId not_found"]);
    expect(await refused(patch(id, { playedAt: null }))).to.deep.equal(["playedAt bad_time"]);
    expect(await refused(patch(id, { playedAt: "1999-01-01T00:00:00Z" }))).to.deep.equal([
      "playedAt time_out_of_range",
    ]);
    expect(await refused(patch(id, { msPlayed: 3_000_000_000 }))).to.deep.equal(["msPlayed out_of_range"]);
    expect(await refused(patch(id, { track: { ...track, title: "a\0" } }))).to.deep.equal([
      "track.title text_nul",
    ]);
    for (const field of [
      "userId",
      "source",
      "counted",
      "duplicateOf",
      "importId",
      "context",
      "createdAt",
      "version",
    ]) {
      expect(await refused(patch(id, { [field]: null })), field).to.deep.equal([`${field} unknown_field`]);
    }
    expect(await show(id)).to.deep.equal(before);
  });

  it("takes the id of a track that was merged away for the one it was merged into", async () => {
    const id = await insert();
    const { track } = await show(id);
    await insert({ artist: "Lamb", track: "Gorecki" });
    const [gone] = await rows<{ id: number }>("select id from tracks where title = 'Gorecki'");
    await rows(
      "insert into catalogue_merges (entity, old_id, into_id) values ('track', $1, $2)",
      gone!.id + 500_000,
      track.id,
    );
    const { body } = expectStatus(200, await patch(id, { trackId: gone!.id + 500_000 }));
    expect(body.track.id).to.equal(track.id);
  });
});
