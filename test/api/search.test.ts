import { expect } from "chai";
import type pg from "pg";
import { startTestApp, type TestApp } from "../support/app.js";
import { expectStatus } from "../support/expectStatus.js";
import { buildUser, type TestUser } from "../support/factories.js";
import type { Answer } from "../support/http.js";
import { catchUp, insertTracks, type TrackIds, type TrackSpec } from "../services/search/support.js";

const SONGS: readonly (TrackSpec & { readonly key: string })[] = [
  {
    key: "rhapsody",
    artist: "Queen",
    title: "Bohemian Rhapsody",
    album: "A Night at the Opera",
    popularity: 900,
  },
  {
    key: "polka",
    artist: '"Weird Al" Yankovic',
    title: "Bohemian Polka",
    album: "Alapalooza",
    popularity: 3,
  },
  { key: "queen", artist: "Perfume Genius", title: "Queen", popularity: 5 },
  { key: "halo", artist: "Beyoncé", title: "Halo", popularity: 700 },
  { key: "teen", artist: "Nirvana", title: "Smells Like Teen Spirit", album: "Nevermind", popularity: 800 },
  { key: "thunder", artist: "AC/DC", title: "Thunderstruck", popularity: 400 },
  { key: "eple", artist: "Röyksopp", title: "Eple", popularity: 60 },
  { key: "lemon", artist: "米津玄師", title: "Lemon", popularity: 300 },
  { key: "bus", artist: "夜行バス", title: "始発", popularity: 20 },
  { key: "hochesh", artist: "Земфира", title: "Хочешь?", popularity: 50 },
  { key: "thai", artist: "บอดี้สแลม", title: "แสงสุดท้าย", popularity: 40 },
  { key: "korean", artist: "방탄소년단", title: "봄날", popularity: 250 },
  { key: "arabic", artist: "فيروز", title: "نسّم علينا الهوى", popularity: 30 },
  { key: "hebrew", artist: "עידן רייכל", title: "ממעמקים", popularity: 10 },
  { key: "greek", artist: "Μάνος Χατζιδάκις", title: "Χαμόγελο της Τζοκόντας", popularity: 9 },
  { key: "divide", artist: "Ed Sheeran", title: "÷", popularity: 80 },
  { key: "percent", artist: "Signs", title: "%", popularity: 1 },
  { key: "exclaim", artist: "!!!", title: "Heart of Hearts", popularity: 12 },
  { key: "dont", artist: "Journey", title: "Don't Stop Believin'", popularity: 650 },
  { key: "hole", artist: "Soundgarden", title: "Black Hole Sun", popularity: 420 },
];
const PATH = "/api/v1/search";
const NOISE = 450;

describe("GET /search", () => {
  let app: TestApp;
  let me: TestUser;
  let pool: pg.Pool;
  const ids: Record<string, TrackIds> = {};
  before(async () => {
    app = await startTestApp({ env: { DB_POOL_MAX: "4" } });
    me = await buildUser(app);
    pool = app.deps.database.pool;
    const inserted = await insertTracks(pool, SONGS);
    for (const [index, { key }] of SONGS.entries()) ids[key] = inserted[index] as TrackIds;
    await insertTracks(
      pool,
      Array.from({ length: NOISE }, (_, n) => ({
        artist: `Zwarm ${n % 7}`,
        title: `Zoem ${n} ${n % 2 === 0 ? "even" : "odd"}`,
        popularity: n % 50,
      })),
    );
    await pool.query(
      "update artists a set popularity = (select coalesce(sum(popularity), 0) from tracks where artist_id = a.id)",
    );
    await catchUp(pool);
  });
  after(() => app.close());

  const ask = async (q: string, more = ""): Promise<Answer> =>
    app.as(me).get(`${PATH}?q=${encodeURIComponent(q)}${more}`);
  /** `type id` of all results, in order. */
  const found = async (q: string, more = ""): Promise<readonly string[]> => {
    const { body } = expectStatus(200, await ask(q, more));
    return body.data.map(
      (result: { type: string; item: { id: number } }) => `${result.type} ${result.item.id}`,
    );
  };
  const track = (key: string): string => `track ${ids[key]!.trackId}`;
  const artist = (key: string): string => `artist ${ids[key]!.artistId}`;
  const album = (key: string): string => `album ${ids[key]!.albumId}`;

  it("answers with items as the lists of their kinds show them, best first", async () => {
    const { body } = expectStatus(200, await ask("bohemian"));
    expect(body).to.have.all.keys("data", "nextCursor");
    const [best] = body.data;
    expect(best).to.have.all.keys("type", "score", "item");
    const shown = expectStatus(200, await app.as(me).get(`/api/v1/tracks/${ids["rhapsody"]!.trackId}`));
    expect(best.item).to.deep.equal(shown.body);
    const scores = body.data.map(({ score }: { score: number }) => score);
    expect(scores).to.deep.equal([...scores].sort((a: number, b: number) => b - a));
    for (const score of scores) expect(score).to.be.within(0, 1);

    const artists = expectStatus(200, await ask("queen", "&type=artist")).body.data;
    const list = expectStatus(200, await app.as(me).get("/api/v1/artists?q=queen")).body.data;
    expect(artists.map(({ item }: { item: unknown }) => item)).to.deep.equal(list);
    const albums = expectStatus(200, await ask("nevermind", "&type=album")).body.data;
    expect(albums[0].item).to.deep.equal(
      expectStatus(200, await app.as(me).get("/api/v1/albums?q=nevermind")).body.data[0],
    );
  });

  it("finds words of title and artist in any order, and the last one while it is typed", async () => {
    expect(await found("queen rhapsody")).to.deep.equal([track("rhapsody")]);
    expect(await found("rhapsody queen")).to.deep.equal([track("rhapsody")]);
    for (const begun of ["bohemian r", "bohemian rhap", "BOHEMIAN RHAPSODY", "smells like teen sp"])
      expect((await found(begun))[0], begun).to.equal(track(begun.startsWith("s") ? "teen" : "rhapsody"));
    expect(await found("opera", "&type=album")).to.deep.equal([album("rhapsody")]);
  });

  it("needs no accents, quotes or other signs, and takes them where they are", async () => {
    for (const name of ["beyonce", "Beyoncé", "BEYONCÉ"])
      expect(await found(name), name).to.include(artist("halo"));
    for (const name of ["acdc", "ac/dc", "ac dc", "AC-DC"])
      expect(await found(name), name).to.include(artist("thunder"));
    for (const name of ["royksopp", "röyksopp"]) expect(await found(name), name).to.include(artist("eple"));
    for (const name of ["dont stop", "don't stop", "don’t stop"])
      expect(await found(name), name).to.include(track("dont"));
  });

  it("finds any script, from one character, and any part of names without spaces", async () => {
    const expected: readonly (readonly [string, string])[] = [
      ["米", artist("lemon")],
      ["玄師", artist("lemon")],
      ["夜行", artist("bus")],
      ["バス", artist("bus")],
      ["発", track("bus")],
      ["земф", artist("hochesh")],
      ["хочешь", track("hochesh")],
      ["สุดท้าย", track("thai")],
      ["방탄", artist("korean")],
      ["봄", track("korean")],
      ["فيروز", artist("arabic")],
      ["نسم", track("arabic")],
      ["ממעמ", track("hebrew")],
      ["χαμογελο", track("greek")],
      ["q", artist("rhapsody")],
    ];
    for (const [q, result] of expected) expect(await found(q), q).to.include(result);
  });

  it("forgives a slip in each word, two in a long one, and spaces too many or too few", async () => {
    const expected: readonly (readonly [string, string])[] = [
      ["nirvanna", artist("teen")],
      ["nivrana", artist("teen")],
      ["nirvan", artist("teen")],
      ["beyonse", artist("halo")],
      ["bohemain rapsody", track("rhapsody")],
      ["smels liek teen spirit", track("teen")],
      ["soundgaden black hole", track("hole")],
      ["thunderstruk", track("thunder")],
      ["thundrestruckk", track("thunder")],
      ["blackhole sun", track("hole")],
      ["thunder struck", track("thunder")],
      ["земфера", artist("hochesh")],
      ["米津元師", artist("lemon")],
      ["แสงสุดห้าย", track("thai")],
    ];
    for (const [q, result] of expected) expect(await found(q), q).to.include(result);
    expect(await found("zzqqxx yyqqzz")).to.deep.equal([]);
  });

  it("puts what is called so first, then the popular", async () => {
    expect(await found("queen", "&type=artist,track")).to.have.ordered.members([
      artist("rhapsody"),
      track("queen"),
      track("rhapsody"),
    ]);
    const bohemian = await found("bohemian", "&type=track");
    expect(bohemian).to.have.ordered.members([track("rhapsody"), track("polka")]);
  });

  it("leaves one word out where nothing has them all", async () => {
    expect(await found("bohemian xylophone")).to.include.members([track("rhapsody"), track("polka")]);
  });

  it("takes wildcards and operators for text", async () => {
    expect(await found("%")).to.deep.equal([track("percent")]);
    expect(await found("÷")).to.deep.equal([track("divide")]);
    expect(await found("!!!")).to.include(artist("exclaim"));
    for (const nothing of ["_", "\\", "*", "'", "?", "&|", ":*", "''"])
      expect(await found(nothing), nothing).to.deep.equal([]);
    for (const text of [
      "queen:*",
      "queen & !rhapsody",
      "(queen",
      "queen'",
      "queen\\",
      "'; drop table tracks; --",
    ])
      expectStatus(200, await ask(text));
    expect(await found("nirvana*")).to.include(artist("teen"));
  });

  it("gives every result once over all pages, in the order of one large one", async () => {
    const whole = await found("zoem", "&type=track&limit=1000");
    expect(new Set(whole).size).to.equal(NOISE);
    expect(whole).to.have.length(NOISE);
    for (const limit of [100, 170]) {
      const joined: string[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const { body }: Answer = expectStatus(
          200,
          await ask("zoem", `&type=track&limit=${limit}${cursor === null ? "" : `&cursor=${cursor}`}`),
        );
        joined.push(...body.data.map(({ item }: { item: { id: number } }) => `track ${item.id}`));
        cursor = body.nextCursor;
        pages += 1;
        expect(body.data).to.have.length(Math.min(limit, NOISE - (pages - 1) * limit));
      } while (cursor !== null);
      expect(joined).to.deep.equal(whole);
    }
    const first = expectStatus(200, await ask("zoem", "&limit=10")).body.nextCursor;
    for (const other of [`zwarm`, `zoem&type=track`]) {
      const refused = expectStatus(400, await app.as(me).get(`${PATH}?q=${other}&cursor=${first}`));
      expect(refused.body.code).to.equal("bad_cursor");
    }
  });

  it("refuses what it cannot search for, naming every problem", async () => {
    const codes = async (query: string): Promise<readonly string[]> => {
      const { body } = expectStatus(400, await app.as(me).get(`${PATH}?${query}`));
      return body.errors.map(({ path, code }: { path: string; code: string }) => `${path} ${code}`);
    };
    expect(await codes("")).to.deep.equal(["q required"]);
    expect(await codes("q=")).to.deep.equal(["q empty"]);
    expect(await codes("q=%20%20")).to.deep.equal(["q empty"]);
    expect(await codes(`q=${"x".repeat(5000)}`)).to.deep.equal(["q too_long"]);
    expect(await codes("q=a%00")).to.deep.equal(["q text_nul"]);
    expect(await codes("type=song&limit=0&more=1")).to.have.members([
      "q required",
      "type bad_format",
      "limit bad_number",
      "more unknown_field",
    ]);
    for (const type of ["", "track,", "track,song", "track,track,track,track"])
      expect(await codes(`q=a&type=${type}`), type).to.have.length(1);
    expectStatus(401, await app.anonymous.get(`${PATH}?q=a`));
  });

  it("shows nothing that is gone, also while the index still has it", async () => {
    const [gone] = await insertTracks(pool, [{ artist: "Ephemera", title: "Vanishing" }]);
    await catchUp(pool);
    expect(await found("vanishing")).to.deep.equal([`track ${gone!.trackId}`]);
    await pool.query("delete from tracks where id = $1", [gone!.trackId]);
    expect(await found("vanishing")).to.deep.equal([]);
    await catchUp(pool);
    expect(await found("vanishing")).to.deep.equal([]);
  });

  it("leaves connections for everybody else when a hundred search for a letter at once", async () => {
    const searches = Promise.all(
      Array.from({ length: 100 }, (_, n) => ask("abcdefghijklmnopqrstuvwxyz"[n % 26]!)),
    );
    const others = await Promise.all(
      Array.from({ length: 20 }, (_, n) => app.as(me).get(`/api/v1/listening-history?page=${n + 2}`)),
    );
    for (const answer of others) expectStatus(200, answer);
    for (const answer of await searches)
      expect(answer.status, JSON.stringify(answer.body)).to.be.oneOf([200, 503]);
  });

  it("gives up after half a second, and says so", async () => {
    const holder = await pool.connect();
    try {
      await holder.query("begin");
      await holder.query("lock table search_documents in access exclusive mode");
      const answer = expectStatus(503, await ask("queen"));
      expect(answer.body.code).to.equal("search_timeout");
      expect(answer.headers.get("retry-after")).to.equal("1");
      await holder.query("commit");
    } finally {
      holder.release();
    }
    expectStatus(200, await ask("queen"));
  });
});
