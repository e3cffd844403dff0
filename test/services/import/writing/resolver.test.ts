import { expect } from "chai";
import type pg from "pg";
import { inTransaction } from "../../../../db/transaction.js";
import { ByDescription, LONGEST_CHAIN } from "../../../../services/import/writing/descriptions.js";
import type { Description } from "../../../../services/import/writing/descriptions.js";
import { CatalogueResolver } from "../../../../services/import/writing/resolver.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { untilBlocked } from "../../../support/locks.js";

const described = (fields: Partial<Description> = {}): Description => ({
  artist: "Artist",
  title: "Title",
  album: null,
  trackId: null,
  durationMs: null,
  ...fields,
});

const spotify = (id: string): Description["trackId"] => ({ provider: "spotify", id });

describe("placing plays in the catalogue", () => {
  let db: TestDatabase;
  before(async () => {
    db = await createTestDatabase();
  });
  after(() => db.drop());

  const pool = (): pg.Pool => db.database.pool;
  const resolver = () => new CatalogueResolver(pool());
  const count = async (table: string, where: string, values: readonly unknown[] = []): Promise<number> =>
    (await pool().query<{ n: number }>(`select count(*)::int as n from ${table} where ${where}`, [...values]))
      .rows[0]!.n;

  it("finds the same places again in memory, in the database, and under other spellings of a name", async () => {
    const one = described({
      artist: "Mötley Crüe",
      title: "Don't Go",
      album: "Theatre",
      trackId: spotify("a1"),
    });
    const remembering = resolver();
    const [first] = (await remembering.resolve([one])).ids;
    expect((await remembering.resolve([one, one])).ids).to.deep.equal([first, first]);
    expect((await resolver().resolve([one])).ids).to.deep.equal([first]);
    const spelt = { ...one, artist: "MÖTLEY  CRÜE", title: "don’t go", album: "THEATRE", trackId: null };
    expect((await resolver().resolve([spelt])).ids).to.deep.equal([first]);
    expect(await count("artists", "name_key = 'mötley crüe'")).to.equal(1);
    expect(await count("album_tracks", "track_id = $1", [first!.trackId])).to.equal(1);
  });

  it("gives each of very many artists with the same title a track of their own, and the same one again", async () => {
    const plays = Array.from({ length: 3 * LONGEST_CHAIN }, (_, n) =>
      described({ artist: `One of many ${n}` }),
    );
    const remembering = resolver();
    const { ids } = await remembering.resolve([...plays, ...plays]);
    expect(ids.slice(plays.length)).to.deep.equal(ids.slice(0, plays.length));
    expect(new Set(ids.map((place) => place?.trackId)).size).to.equal(plays.length);
    expect((await remembering.resolve(plays)).ids).to.deep.equal(ids.slice(0, plays.length));
  });

  it("stores names as they are, whatever characters of a list they hold", async () => {
    const names = [`a "b" \\c {d,e}`, "NULL", "", "tab\tand\nline", "日本 🎧", ",", "\\", '"'].map(
      (name, n) => `${n} ${name}`,
    );
    const plays = names.map((name) => described({ artist: name, title: name, album: name }));
    const { ids } = await resolver().resolve(plays);
    const stored = await pool().query<{ artist: string; title: string; album: string }>(
      `select a.name as artist, t.title, b.title as album
         from unnest($1::bigint[], $2::bigint[]) with ordinality as w (track, album, ord)
         join tracks t on t.id = w.track join artists a on a.id = t.artist_id join albums b on b.id = w.album
        order by w.ord`,
      [ids.map((place) => place!.trackId), ids.map((place) => place!.albumId)],
    );
    expect(stored.rows).to.deep.equal(names.map((name) => ({ artist: name, title: name, album: name })));
  });

  it("gives plays of one unknown strong id one track: that of the first", async () => {
    const trackId = spotify("shared");
    const { ids } = await resolver().resolve([
      described({ artist: "First", title: "Here", trackId, album: "X" }),
      described({ artist: "Second", title: "There", trackId, album: "X" }),
      described({ artist: "Second", title: "There", trackId: spotify("own") }),
    ]);
    expect(ids[1]).to.deep.equal(ids[0]);
    const found = await pool().query<{ name: string }>(
      `select a.name from external_ids e join tracks t on t.id = e.entity_id join artists a on a.id = t.artist_id
        where e.external_id in ('shared', 'own') order by e.external_id desc`,
    );
    expect(found.rows.map(({ name }) => name)).to.deep.equal(["First", "Second"]);
    expect(ids[2]!.trackId).not.to.equal(ids[0]!.trackId);
  });

  it("tells tracks without an artist apart by their albums", async () => {
    const unknown = { artist: "[unknown]", title: "Intro" };
    const { ids } = await resolver().resolve([
      described({ ...unknown, album: "One" }),
      described({ ...unknown, album: "Two" }),
      described({ ...unknown, album: "one" }),
    ]);
    expect(ids[0]!.trackId).not.to.equal(ids[1]!.trackId);
    expect(ids[2]!.trackId).to.equal(ids[0]!.trackId);
  });

  it("takes over what another import created at the same moment, and its strong ids", async () => {
    const plays = [1, 2, 3].map((n) =>
      described({
        artist: `Raced ${n}`,
        title: `Song ${n}`,
        album: `Album ${n}`,
        trackId: spotify(`raced${n}`),
      }),
    );
    const theirs = await pool().connect();
    try {
      await theirs.query("begin");
      const made = await theirs.query<{ id: number; artist_id: number }>(
        `with a as (insert into artists (name, name_key) values ('Raced 2', 'raced 2') returning id)
         insert into tracks (artist_id, title, title_key, loose_key) select id, 'Song 2', 'song 2', 'k' from a
         returning id, artist_id`,
      );
      const other = await theirs.query<{ id: number; artist_id: number }>(
        `insert into tracks (artist_id, title, title_key, loose_key) values ($1, 'Elsewhere', 'elsewhere', 'k')
         returning id, artist_id`,
        [made.rows[0]!.artist_id],
      );
      await theirs.query(
        "insert into external_ids (entity, provider, external_id, entity_id) values ('track', 'spotify', 'raced3', $1)",
        [other.rows[0]!.id],
      );
      const pending = resolver().resolve(plays);
      await untilBlocked(pool());
      await theirs.query("commit");
      const { ids } = await pending;

      expect([ids[1]!.trackId, ids[1]!.artistId]).to.deep.equal([made.rows[0]!.id, made.rows[0]!.artist_id]);
      expect([ids[2]!.trackId, ids[2]!.artistId]).to.deep.equal([
        other.rows[0]!.id,
        other.rows[0]!.artist_id,
      ]);
      expect(await count("artists", "name like 'Raced %'")).to.equal(3);
      expect(await count("tracks", "id = $1 and title = 'Song 1'", [ids[0]!.trackId])).to.equal(1);
    } finally {
      theirs.release(true);
    }
  });

  it("lets many imports create the same names at once in any order", async () => {
    const plays = Array.from({ length: 200 }, (_, n) =>
      described({
        artist: `Many ${n % 30}`,
        title: `T ${n}`,
        album: `B ${n % 50}`,
        trackId: spotify(`many${n}`),
      }),
    );
    const results = await Promise.all(
      [0, 1, 2, 3].map(async (n) => {
        const order = n % 2 === 0 ? plays : [...plays].reverse();
        const { ids } = await resolver().resolve(order);
        return n % 2 === 0 ? ids : [...ids].reverse();
      }),
    );
    for (const ids of results) expect(ids).to.deep.equal(results[0]);
    expect(await count("external_ids", "external_id like 'many%'")).to.equal(200);
  });

  it("names the plays the catalogue refuses, all repeats of them, and places the others", async () => {
    const refuses = "alter table tracks add constraint test_refuses check (title <> 'Cursed')";
    await pool().query(refuses);
    try {
      const { ids, refused } = await resolver().resolve(
        ["Fine", "Cursed", "Good", "Cursed"].map((title) => described({ title })),
      );
      expect([...refused.keys()]).to.deep.equal([1, 3]);
      expect(ids.map((place) => place === undefined)).to.deep.equal([false, true, false, true]);
    } finally {
      await pool().query("alter table tracks drop constraint test_refuses");
    }
  });

  it("looks everything up again once it was told to forget", async () => {
    const remembering = resolver();
    const play = described({ artist: "Moving", title: "On" });
    const [before] = (await remembering.resolve([play])).ids;
    await inTransaction(pool(), (client) =>
      client.query("delete from tracks where id = $1", [before!.trackId]),
    );
    expect((await remembering.resolve([play])).ids).to.deep.equal([before]);
    remembering.forget();
    const [after] = (await remembering.resolve([play])).ids;
    expect(after!.trackId).not.to.equal(before!.trackId);
  });
});

describe("a map from descriptions", () => {
  it("tells apart whatever differs in a text, in the strong id or in its provider", () => {
    const map = new ByDescription<number>();
    const all = [
      described(),
      described({ artist: "Other" }),
      described({ album: "Album" }),
      described({ album: "" }),
      described({ trackId: spotify("Title") }),
      described({ trackId: { provider: "apple", id: "Title" } }),
      described({ trackId: spotify("Title"), title: "Other" }),
    ];
    all.forEach((description, n) => map.add(description, n));
    expect(all.map((description) => map.get({ ...description }))).to.deep.equal([...all.keys()]);
    expect(map.get(described({ title: "Other" }))).to.equal(undefined);
    expect(map.size).to.equal(all.length);
  });

  it("searches few of very many with the same title, and counts what it holds", () => {
    const map = new ByDescription<number>();
    const artist = (n: number) => described({ artist: `Artist ${n}` });
    for (let n = 0; n <= LONGEST_CHAIN * 10; n += 1) map.add(artist(n), n);
    expect(map.size).to.be.within(1, LONGEST_CHAIN);
    expect(map.get(artist(LONGEST_CHAIN * 10))).to.equal(LONGEST_CHAIN * 10);
    expect(map.get(artist(0))).to.equal(undefined);
    map.dropOldest();
    expect(map.size).to.equal(0);
  });

  it("drops the oldest first and counts what it holds", () => {
    const map = new ByDescription<number>();
    map.add(described({ title: "a" }), 1);
    map.add(described({ title: "a", artist: "b" }), 2);
    map.add(described({ title: "c" }), 3);
    map.dropOldest();
    expect([map.size, map.get(described({ title: "a" })), map.get(described({ title: "c" }))]).to.deep.equal([
      1,
      undefined,
      3,
    ]);
    map.clear();
    map.dropOldest();
    expect([map.size, map.get(described({ title: "c" }))]).to.deep.equal([0, undefined]);
  });
});
