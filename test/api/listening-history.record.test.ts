import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { manualKey } from "../../services/history/sourceKey.js";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { startStatementCounter } from "../support/statementCounter.js";

const PATH = "/api/v1/listening-history";
const BATCH = `${PATH}/batch`;
const HOUR_MS = 3_600_000;

describe("recording plays by hand", () => {
  let app: TestApp;
  let admin: TestUser;
  let user: TestUser;

  before(async () => {
    app = await startTestApp();
    admin = await buildUser(app);
  });
  beforeEach(async () => {
    user = await buildUser(app);
  });
  after(() => app.close());

  const AT = "2024-05-01T10:20:30.123Z";
  const song = (more: object = {}) => ({ title: "Jóga", artist: "Björk", album: "Homogenic", ...more });
  const play = (more: object = {}) => ({ playedAt: AT, msPlayed: 200_000, track: song(), ...more });
  const post = (body: unknown, by = user): Promise<Answer> => app.as(by).post(PATH, body);
  const batch = (listens: unknown, by = user): Promise<Answer> => app.as(by).post(BATCH, { listens });
  const list = async (by = user) => expectStatus(200, await app.as(by).get(`${PATH}?limit=1000`)).body.data;
  const rows = async <T>(sql: string, ...values: unknown[]): Promise<T[]> =>
    (await app.deps.database.pool.query(sql, values)).rows as T[];
  /** `path code` of each problem. */
  const problems = ({ body }: Answer): string[] =>
    (body.errors as { path: string; code: string }[]).map(({ path, code }) => `${path} ${code}`);

  describe("POST /listening-history", () => {
    it("records a play of a track it is told by name, and shows it in the next list", async () => {
      expect(await list()).to.deep.equal([]);
      const answer = expectStatus(201, await post(play()));
      const { id, createdAt, updatedAt, track, artist, album, ...rest } = answer.body;
      expect(rest).to.deep.equal({
        playedAt: AT,
        msPlayed: 200_000,
        precision: "second",
        source: "manual",
        counted: true,
        duplicateOf: null,
        importId: null,
        context: null,
      });
      expect([track.title, artist.name, album.title]).to.deep.equal(["Jóga", "Björk", "Homogenic"]);
      expect(updatedAt).to.equal(createdAt);
      expect(answer.headers.get("location")).to.equal(`${PATH}/${id}`);

      expect(await list()).to.deep.equal([answer.body]);
      const shown = await app.as(user).get(`${PATH}/${id}`, { headers: { "accept-encoding": "identity" } });
      expect(shown.body).to.deep.equal(answer.body);
      expect(shown.headers.get("etag")).to.equal(answer.headers.get("etag"));
    });

    it("answers the same play with the first, however it is told", async () => {
      const first = expectStatus(201, await post(play()));
      const { track, album, id } = first.body;
      const again = [
        play(),
        play({ playedAt: "2024-05-01T12:20:30.123+02:00" }),
        play({ msPlayed: 1 }),
        play({ track: song({ title: "JO\u0301GA ", artist: "björk", album: null }) }),
        { playedAt: AT, trackId: track.id },
        { playedAt: AT, trackId: track.id, albumId: album.id, msPlayed: null },
      ];
      for (const body of again) {
        const answer = expectStatus(200, await post(body));
        expect(answer.body, JSON.stringify(body)).to.deep.equal(first.body);
        expect(answer.headers.get("etag")).to.equal(first.headers.get("etag"));
      }
      await rows("update tracks set title = 'Joga (renamed)' where id = $1", track.id);
      expect(expectStatus(200, await post({ playedAt: AT, trackId: track.id })).body.id).to.equal(id);

      for (const other of [
        play({ playedAt: "2024-05-01T10:20:30.124Z" }),
        play({ track: song({ title: "Bachelorette" }) }),
      ])
        expectStatus(201, await post(other));
      expect(await list()).to.have.length(3);
    });

    it("is one play when it is sent five times at once, and another user's is another", async () => {
      const other = await buildUser(app);
      const answers = await Promise.all(Array.from({ length: 5 }, () => post(play())));
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 200, 200, 200, 201]);
      expect(new Set(answers.map(({ body }) => body.id)).size).to.equal(1);
      expect(expectStatus(201, await post(play(), other)).body.id).to.not.equal(answers[0]?.body.id);
      expect(await list()).to.have.length(1);
    });

    it("keeps the identity of the play, and the range its start can lie in", async () => {
      const { id } = expectStatus(
        201,
        await post(play({ track: song({ title: "Unravel", durationMs: 300_000 }) })),
      ).body;
      const [row] = await rows<{ source_key: Buffer } & Record<string, unknown>>(
        `select source_key, ended_at, duration_ms, played_at - start_earliest = interval '2 seconds' as before,
                start_latest - played_at = interval '2 seconds' as after
           from listening_history where id = $1`,
        id,
      );
      const { source_key: key, ...rest } = row!;
      expect(rest).to.deep.equal({ ended_at: null, duration_ms: 300_000, before: true, after: true });
      const expected = manualKey({ artist: "Björk", title: "Unravel", playedAtMs: Date.parse(AT) });
      expect(key.toString("hex")).to.equal(expected.toString("hex"));
    });

    it("counts by what was played of this play's own length", async () => {
      const counted = async (
        msPlayed: number | null | undefined,
        durationMs: number | null,
        minute: number,
      ) => {
        const track = song({ title: "Cover Me", durationMs });
        const playedAt = `2024-05-01T10:${String(minute).padStart(2, "0")}:00Z`;
        return expectStatus(
          201,
          await post({ playedAt, ...(msPlayed === undefined ? {} : { msPlayed }), track }),
        ).body.counted as boolean;
      };
      expect(await counted(30_000, null, 0)).to.equal(true);
      expect(await counted(29_999, null, 1)).to.equal(false);
      expect(await counted(100_000, 200_001, 2)).to.equal(false);
      expect(await counted(100_001, 200_001, 3)).to.equal(true);
      expect(await counted(null, 200_001, 4)).to.equal(true);
      expect(await counted(undefined, null, 5)).to.equal(true);
      expect(await counted(0, null, 6)).to.equal(false);
      expect(await counted(2_147_483_647, null, 7)).to.equal(true);
    });

    it("lets a known strong id decide before names, Spotify's before an ISRC, and notes the one that is new", async () => {
      const spotifyId = "0wgOhYnqZKjOHr6bmdz0aN";
      const other = "1wgOhYnqZKjOHr6bmdz0aN";
      const at = (minute: number): string => `2024-06-01T10:0${minute}:00Z`;
      const trackOf = async (minute: number, track: object) =>
        expectStatus(201, await post({ playedAt: at(minute), track })).body.track.id as number;
      const first = await trackOf(0, song({ title: "Hunter", spotifyId }));
      expect(await trackOf(1, song({ title: "Hunter (2010)", spotifyId }))).to.equal(first);
      expect(await trackOf(2, song({ title: "Anything", spotifyId, isrc: "gbaaa9700001" }))).to.equal(first);
      expect(await trackOf(3, song({ title: "Else", isrc: "GBAAA9700001" }))).to.equal(first);
      expect(await trackOf(4, song({ title: "Jäger", isrc: "GBAAA9700001", spotifyId: other }))).to.equal(
        first,
      );
      expect(await trackOf(5, song({ title: "Der Jäger", spotifyId: other }))).to.equal(first);
    });

    it("records again what was deleted, when it is told so", async () => {
      const { id } = expectStatus(201, await post(play())).body;
      expectStatus(204, await app.as(user).delete(`${PATH}/${id}`));
      const again = expectStatus(201, await post(play())).body;
      expect(again.id).to.not.equal(id);
      expect(await rows("select from deleted_plays where user_id = $1", user.id)).to.deep.equal([]);
      expectStatus(200, await post(play()));
    });

    it("puts a play on an album of its artist or one that lists the track, on no other", async () => {
      const { track, album } = expectStatus(201, await post(play())).body;
      const at = (day: number): string => `2024-07-0${day}T00:00:00Z`;
      const other = expectStatus(
        201,
        await post({ playedAt: at(1), track: song({ title: "Venus", album: "Vespertine" }) }),
      );
      const foreign = expectStatus(
        201,
        await post({
          playedAt: at(2),
          track: { title: "Teardrop", artist: "Massive Attack", album: "Mezzanine" },
        }),
      ).body;
      const by = async (day: number, albumId: number) =>
        post({ playedAt: at(day), trackId: track.id, albumId });

      expect(expectStatus(201, await by(3, album.id)).body.album).to.deep.equal(album);
      expect(expectStatus(201, await by(4, other.body.album.id)).body.album.title).to.equal("Vespertine");
      expect(problems(expectStatus(400, await by(5, foreign.album.id)))).to.deep.equal([
        "albumId not_of_track",
      ]);
      expect(problems(expectStatus(400, await by(5, 999_999)))).to.deep.equal(["albumId not_found"]);
      await rows("insert into album_tracks (album_id, track_id) values ($1, $2)", foreign.album.id, track.id);
      expect(expectStatus(201, await by(6, foreign.album.id)).body.album.title).to.equal("Mezzanine");
      const found = await app.as(user).get(`${PATH}?albumId=${other.body.album.id}`);
      expect(found.body.data).to.have.length(2);
    });

    const soon = (): string => new Date(Date.now() + HOUR_MS + 60_000).toISOString();
    const refusals: readonly (readonly [what: string, body: () => object, ...problems: string[]])[] = [
      ["nothing", () => ({}), "playedAt required", " required"],
      ["no track", () => ({ playedAt: AT }), " required"],
      ["two tracks", () => play({ trackId: 1 }), " conflicting"],
      ["an album beside names", () => play({ albumId: 1 }), " conflicting"],
      ["an unknown track", () => ({ playedAt: AT, trackId: 999_999 }), "trackId not_found"],
      ...[
        "2024-02-30T00:00:00Z",
        "now",
        "",
        "2024-05-01T10:20:30",
        "infinity",
        "+275760-09-13T00:00:00Z",
      ].map((playedAt) => [`the time ${playedAt}`, () => play({ playedAt }), "playedAt bad_time"] as const),
      ["a number for a time", () => play({ playedAt: 1_714_558_830 }), "playedAt bad_time"],
      ["1999", () => play({ playedAt: "1999-12-31T23:59:59.999Z" }), "playedAt time_out_of_range"],
      ["the year 1", () => play({ playedAt: "0001-01-01T00:00:00Z" }), "playedAt time_out_of_range"],
      ["a time more than an hour away", () => play({ playedAt: soon() }), "playedAt time_out_of_range"],
      ["-1 ms", () => play({ msPlayed: -1 }), "msPlayed out_of_range"],
      ["half a ms", () => play({ msPlayed: 1.5 }), "msPlayed bad_number"],
      ["too many ms", () => play({ msPlayed: 2_147_483_648 }), "msPlayed out_of_range"],
      ["ms as text", () => play({ msPlayed: "30000" }), "msPlayed wrong_type"],
      ["ms beyond exact numbers", () => play({ msPlayed: 9_007_199_254_740_993 }), "msPlayed bad_number"],
      ["the id 0", () => ({ playedAt: AT, trackId: 0 }), "trackId out_of_range"],
      ["an id as text", () => ({ playedAt: AT, trackId: "1" }), "trackId wrong_type"],
      ["names that are none", () => play({ track: "Jóga" }), "track wrong_type"],
      ["an empty title", () => play({ track: song({ title: "" }) }), "track.title empty"],
      ["a blank artist", () => play({ track: song({ artist: " \u00a0 " }) }), "track.artist bad_format"],
      ["NUL", () => play({ track: song({ title: "a\0b" }) }), "track.title text_nul"],
      ["half a pair", () => play({ track: song({ artist: "\ud800" }) }), "track.artist text_not_unicode"],
      ["5,000 characters", () => play({ track: song({ album: "x".repeat(5000) }) }), "track.album too_long"],
      ["no artist", () => play({ track: { title: "x" } }), "track.artist required"],
      ["a bad ISRC", () => play({ track: song({ isrc: "GB-AAA-97-00001" }) }), "track.isrc bad_format"],
      [
        "a bad id",
        () => play({ track: song({ spotifyId: "spotify:track:x" }) }),
        "track.spotifyId bad_format",
      ],
      ["no length at all", () => play({ track: song({ durationMs: 0 }) }), "track.durationMs out_of_range"],
      [
        "what is not its business, all of it at once",
        () =>
          play({
            ...{
              userId: randomUUID(),
              id: 7,
              importId: null,
              counted: true,
              source: "lastfm",
              sourceKey: "x",
            },
            track: song({ id: 1, popularity: 9 }),
          }),
        ...["userId", "id", "importId", "counted", "source", "sourceKey", "track.id", "track.popularity"].map(
          (path) => `${path} unknown_field`,
        ),
      ],
    ];
    it("refuses what no play can be, naming every problem, and records nothing", async () => {
      for (const [what, body, ...expected] of refusals) {
        const answer = await post(body());
        expect(answer.status, what).to.equal(400);
        expect(problems(answer), what).to.have.members(expected);
      }
      expect(await list()).to.deep.equal([]);
    });

    it("keeps names of any script and size as they are", async () => {
      const titles = [
        "眠り",
        "🏴‍☠️",
        "‮abc",
        "x".repeat(4096),
        "é".repeat(2048),
        "'; drop table tracks; --",
        "\ufffd",
      ];
      for (const [minute, title] of titles.entries()) {
        const answer = await post({
          playedAt: `2024-08-01T00:0${minute}:00Z`,
          track: { title, artist: title, album: title },
        });
        const { track, artist, album } = expectStatus(201, answer).body;
        expect([track.title, artist.name, album.title]).to.deep.equal([title, title, title]);
      }
      expect(expectStatus(201, await post(play({ playedAt: "2000-01-01T00:00:00Z" }))).body.id).to.be.a(
        "number",
      );
      expectStatus(
        201,
        await post(play({ playedAt: new Date(Date.now() + HOUR_MS - 60_000).toISOString() })),
      );
    });
  });

  describe("POST /listening-history/batch", () => {
    const minute = (n: number): string => new Date(Date.UTC(2023, 0, 1, 0, n)).toISOString();
    const numbered = (count: number): object[] =>
      Array.from({ length: count }, (_, n) => ({
        playedAt: minute(n),
        msPlayed: 100_000,
        track: { title: `Track ${n % 60}`, artist: `Artist ${n % 7}`, album: `Album ${n % 11}` },
      }));

    it("has a verdict for each play: records the good ones and names what is wrong with the others", async () => {
      const there = expectStatus(201, await post(play())).body;
      const gone = expectStatus(201, await post(play({ playedAt: minute(1) }))).body;
      expectStatus(204, await app.as(user).delete(`${PATH}/${gone.id}`));
      const { body } = expectStatus(
        200,
        await batch([
          play({ playedAt: minute(2) }),
          play({ playedAt: "yesterday", msPlayed: -1, userId: user.id }),
          play({ playedAt: minute(2), track: song({ title: "jóga" }) }),
          play(),
          play({ playedAt: minute(1) }),
          null,
          { playedAt: minute(3), trackId: 999_999 },
          { playedAt: minute(3), trackId: there.track.id, albumId: 999_999 },
          { playedAt: minute(3), trackId: there.track.id, albumId: there.album.id },
          play({ playedAt: minute(4), track: song({ title: "\ud800" }) }),
          [play()],
          play({ playedAt: minute(5) }),
        ]),
      );
      const ids = body.data.map(({ id }: { id?: number }) => id);
      const short = body.data.map(
        ({ status, errors = [] }: { status: string; errors?: { path: string; code: string }[] }) =>
          [status, ...errors.map(({ path, code }) => `${path} ${code}`)].join(", "),
      );
      expect(short).to.deep.equal([
        "created",
        "rejected, listens.1.playedAt bad_time, listens.1.msPlayed out_of_range, listens.1.userId unknown_field",
        "duplicate",
        "duplicate",
        "duplicate",
        "rejected, listens.5 wrong_type",
        "rejected, listens.6.trackId not_found",
        "rejected, listens.7.albumId not_found",
        "created",
        "rejected, listens.9.track.title text_not_unicode",
        "rejected, listens.10 wrong_type",
        "created",
      ]);
      expect(body.data.map(({ index }: { index: number }) => index)).to.deep.equal(
        ids.map((_: unknown, n: number) => n),
      );
      expect(body.counts).to.deep.equal({ read: 12, created: 3, duplicate: 3, rejected: 6 });
      expect([ids[2], ids[3]]).to.deep.equal([ids[0], there.id]);
      expect(body.data[4], "its owner deleted it").to.deep.equal({ index: 4, status: "duplicate" });
      expect(body.data[1].errors[0].message).to.match(/^listens\.1\.playedAt must be/);
      expect((await list()).map(({ id }: { id: number }) => id)).to.deep.equal([
        there.id,
        ids[11],
        ids[8],
        ids[0],
      ]);
    });

    it("takes a thousand plays, and changes nothing when they come again in another order", async () => {
      const listens = numbered(1000);
      const first = expectStatus(200, await batch(listens)).body;
      expect(first.counts).to.deep.equal({ read: 1000, created: 1000, duplicate: 0, rejected: 0 });
      const again = expectStatus(200, await batch([...listens].reverse())).body;
      expect(again.counts).to.deep.equal({ read: 1000, created: 0, duplicate: 1000, rejected: 0 });
      const ids = (answer: { data: { id: number }[] }) => answer.data.map(({ id }) => id);
      expect(ids(again).reverse()).to.deep.equal(ids(first));
      expect(await list()).to.have.length(1000);
    });

    it("asks the database as often for three hundred plays as for one", async () => {
      const counter = await startStatementCounter(app.databaseUrl);
      const beside = await startTestApp({ beside: app, env: { DATABASE_URL: counter.url } });
      try {
        const asked = async (listens: object[]): Promise<number> => {
          counter.reset();
          expectStatus(200, await beside.as(user).post(BATCH, { listens }));
          return counter.total();
        };
        await asked(numbered(1));
        const one = await asked([
          play({ track: song({ title: randomUUID(), artist: randomUUID(), album: randomUUID() }) }),
        ]);
        const many = await asked(
          Array.from({ length: 300 }, (_, n) => ({
            playedAt: minute(n),
            track: { title: `T${n}`, artist: `A${n % 50}`, album: `B${n % 90}` },
          })),
        );
        expect(many).to.be.at.most(one + 2);
        expect(one).to.be.below(40);
      } finally {
        await beside.close();
        await counter.close();
      }
    });

    it("records each play once when lists of the same plays arrive at once, in opposite order", async () => {
      const listens = numbered(200);
      const answers = await Promise.all(
        [listens, [...listens].reverse(), listens, [...listens].reverse()].map((each) => batch(each)),
      );
      const created = answers.reduce(
        (sum, answer) => sum + (expectStatus(200, answer).body.counts.created as number),
        0,
      );
      expect(created).to.equal(200);
      expect(await list()).to.have.length(200);
    });

    it("files plays under the track that theirs is merged into at this very moment", async () => {
      for (const round of [1, 2, 3]) {
        const trackOf = async (title: string): Promise<number> => {
          const body = {
            playedAt: `2020-01-0${round}T00:00:00Z`,
            track: { title, artist: `Twins ${round}` },
          };
          return expectStatus(201, await post(body)).body.track.id as number;
        };
        const [gone, into] = [await trackOf("Original"), await trackOf("Copy")];
        const answers = await Promise.all([
          app.as(admin).post(`/api/v1/tracks/${gone}/merge`, { into }),
          ...Array.from({ length: 8 }, (_, n) =>
            batch([
              { playedAt: minute(100 * round + n), trackId: gone },
              {
                playedAt: minute(200 + 100 * round + n),
                track: { title: "original", artist: `Twins ${round}` },
              },
            ]),
          ),
        ]);
        for (const answer of answers) expectStatus(200, answer);
        for (const answer of answers.slice(1)) expect(answer.body.counts.created).to.be.greaterThan(0);
        expectStatus(200, await post({ playedAt: minute(100 * round), trackId: gone }));
        const plays = await list();
        expect(plays.filter(({ track }: { track: { id: number } }) => track.id === gone)).to.deep.equal([]);
      }
    });

    it("judges the list itself first", async () => {
      const refused = async (body: unknown): Promise<string[]> =>
        problems(expectStatus(400, await app.as(user).post(BATCH, body)));
      expect(await refused({})).to.deep.equal(["listens required"]);
      expect(await refused({ listens: {} })).to.deep.equal(["listens wrong_type"]);
      expect(await refused({ listens: Array.from({ length: 1001 }, () => 1) })).to.deep.equal([
        "listens too_many",
      ]);
      expect(await refused({ listens: [], userId: user.id })).to.deep.equal(["userId unknown_field"]);
      const wide = Object.fromEntries(Array.from({ length: 60_000 }, (_, n) => [`f${n}`, 0]));
      expect(await refused({ listens: [], ...wide })).to.deep.equal([" too_many"]);
      const none = expectStatus(200, await batch([]));
      expect(none.body).to.deep.equal({
        counts: { read: 0, created: 0, duplicate: 0, rejected: 0 },
        data: [],
      });
    });

    it("takes bodies to 8 MiB, and one hostile item spoils no other", async () => {
      const wide = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`field${n}`, n]));
      const listens = [
        wide,
        play({ track: wide }),
        { deep: "DEEP" },
        { constructor: { prototype: { trackId: 1 } }, playedAt: AT },
        play({ track: song({ title: "y".repeat(4 * 1024 * 1024) }) }),
        play(),
      ] as unknown[];
      const nested = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
      const raw = JSON.stringify({ listens }).replace('"DEEP"', nested);
      const headers = { "content-type": "application/json" };
      const { body } = expectStatus(200, await app.as(user).post(BATCH, undefined, { raw, headers }));
      expect(body.counts).to.deep.equal({ read: 6, created: 1, duplicate: 0, rejected: 5 });
      expect(body.data.map(({ errors }: { errors?: { code: string }[] }) => errors?.[0]?.code)).to.deep.equal(
        ["too_many", "too_many", "required", "unknown_field", "too_long", undefined],
      );
      expect(({} as { trackId?: number }).trackId).to.equal(undefined);
      const large = JSON.stringify({ listens: ["z".repeat(8 * 1024 * 1024)] });
      expect((await app.as(user).post(BATCH, undefined, { raw: large, headers })).status).to.equal(413);
    });
  });

  it("needs a token", async () => {
    expect((await app.anonymous.post(PATH, play())).status).to.equal(401);
    expect((await app.anonymous.post(BATCH, { listens: [] })).status).to.equal(401);
  });
});
