import { expect } from "chai";
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../../db/advisoryLocks.js";
import { primaryReads } from "../../../db/replica.js";
import { nameKey } from "../../../services/catalog/keys.js";
import { rebuildSearchIndex } from "../../../services/search/rebuild.js";
import { searchUpkeep } from "../../../services/search/upkeep.js";
import { SearchService } from "../../../services/search/SearchService.js";
import { settleTiers } from "../../../services/search/tiers.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { catchUp, indexState, insertTracks } from "./support.js";

describe("the search index", () => {
  let test: TestDatabase;
  let pool: pg.Pool;
  before(async () => {
    test = await createTestDatabase();
    pool = test.database.pool;
  });
  after(() => test.drop());

  const wordsOf = async (entity: string, id: number): Promise<readonly string[] | null> => {
    const { rows } = await pool.query<{ words: string[] }>(
      "select tsvector_to_array(words) as words from search_documents where entity = $1 and entity_id = $2",
      [entity, id],
    );
    return rows[0]?.words.filter((word) => !word.startsWith("\u001f")) ?? null;
  };
  const noted = async (): Promise<number> =>
    (await pool.query<{ n: number }>("select count(*)::integer as n from search_changes")).rows[0]!.n;

  /** What it is after changes must be what it would be if it were made now. */
  async function expectAsIfNew(): Promise<void> {
    await catchUp(pool);
    const kept = await indexState(pool);
    await rebuildSearchIndex(pool);
    expect(await indexState(pool)).to.deep.equal(kept);
  }

  it("follows what is added, renamed, moved, merged, made popular and deleted", async () => {
    const [first, second] = await insertTracks(pool, [
      { artist: "Sigur Rós", title: "Hoppípolla", album: "Takk..." },
      { artist: "Björk", title: "Jóga", album: "Homogenic" },
    ]);
    await catchUp(pool);
    expect(await wordsOf("track", first!.trackId)).to.deep.equal(["hoppipolla", "ros", "sigur"]);
    expect(await wordsOf("album", first!.albumId!)).to.deep.equal(["ros", "sigur", "takk"]);
    expect(await wordsOf("artist", second!.artistId)).to.deep.equal(["bjork"]);

    await pool.query("update tracks set title = 'Army of Me', title_key = 'army of me' where id = $1", [
      second!.trackId,
    ]);
    await pool.query("update artists set name = 'Jónsi', name_key = 'jónsi' where id = $1", [
      first!.artistId,
    ]);
    await catchUp(pool);
    expect(await wordsOf("track", second!.trackId)).to.deep.equal(["army", "bjork", "me", "of"]);
    expect(await wordsOf("track", first!.trackId)).to.deep.equal(["hoppipolla", "jonsi"]);
    expect(await wordsOf("album", first!.albumId!)).to.deep.equal(["jonsi", "takk"]);

    await pool.query("insert into artist_aliases (name_key, artist_id) values ('sigur rós', $1)", [
      first!.artistId,
    ]);
    await catchUp(pool);
    expect(await wordsOf("track", first!.trackId)).to.include.members(["sigur", "ros", "jonsi"]);

    await pool.query("update tracks set artist_id = $2, popularity = 7 where id = $1", [
      first!.trackId,
      second!.artistId,
    ]);
    await pool.query("delete from tracks where id = $1", [second!.trackId]);
    await catchUp(pool);
    expect(await wordsOf("track", first!.trackId)).to.deep.equal(["bjork", "hoppipolla"]);
    expect(await wordsOf("track", second!.trackId)).to.equal(null);
    const { rows } = await pool.query(
      "select popularity from search_documents where entity = 'track' and entity_id = $1",
      [first!.trackId],
    );
    expect(rows).to.deep.equal([{ popularity: 7 }]);
    await expectAsIfNew();
  });

  it("knows what plays without an artist are filed under by no name", async () => {
    const [unknown] = await insertTracks(pool, [{ artist: "[unknown]", title: "A tape" }]);
    await catchUp(pool);
    expect(await wordsOf("artist", unknown!.artistId)).to.equal(null);
    expect(await wordsOf("track", unknown!.trackId)).to.deep.equal(["a", "tape"]);
  });

  it("is left alone by statements that change nothing it shows", async () => {
    await catchUp(pool);
    await pool.query("update artists set country = 'IS'");
    await pool.query("update tracks set duration_ms = 1000");
    await pool.query("insert into artists (name, name_key) values ('Again', 'björk') on conflict do nothing");
    expect(await noted()).to.equal(0);
  });

  it("takes one note a statement, and no more catalogue rows at once than it should", async () => {
    await pool.query(
      `insert into artists (name, name_key) select 'Artist ' || n, 'artist ' || n from generate_series(1, 12000) n`,
    );
    const { rows } = await pool.query<{ size: number }>(
      "select cardinality(ids) as size from search_changes order by id",
    );
    expect(rows.map(({ size }) => size)).to.deep.equal([5000, 5000, 2000]);
    await catchUp(pool);
    expect(await noted()).to.equal(0);
  });

  it("is kept by one process at a time", async () => {
    await insertTracks(pool, [{ artist: "Only", title: "Once" }]);
    const other = await pool.connect();
    try {
      await other.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.searchIndex]);
      expect(await searchUpkeep(pool)()).to.equal(null);
      expect(await noted()).to.be.above(0);
      await other.query("select pg_advisory_unlock($1)", [ADVISORY_LOCKS.searchIndex]);
    } finally {
      other.release();
    }
    expect(await searchUpkeep(pool)()).to.equal(2);
    expect(await noted()).to.equal(0);
  });

  it("waits for nobody who writes the catalogue, and nobody waits for it", async () => {
    const [there] = await insertTracks(pool, [{ artist: "Held", title: "Held" }]);
    const writer = await pool.connect();
    try {
      await writer.query("begin");
      await writer.query("update artists set name = 'Held Up' where id = $1", [there!.artistId]);
      await insertTracks(pool, [{ artist: "Meanwhile", title: "Meanwhile" }]);
      await catchUp(pool);
      expect(await wordsOf("track", there!.trackId)).to.deep.equal(["held"]);
      await writer.query("commit");
    } finally {
      writer.release();
    }
    await catchUp(pool);
    expect(await wordsOf("track", there!.trackId)).to.deep.equal(["held", "up"]);
  });

  it("is the same after a rebuild from any state, with searches going on", async () => {
    await catchUp(pool);
    const kept = await indexState(pool);
    await pool.query(
      "delete from search_documents where entity = 'track' or (entity_id % 3 = 0 and name <> 'artist 77')",
    );
    await pool.query("update search_words set documents = documents + 5, near = '{}' where word < 'm'");
    await pool.query("insert into search_words (word, documents, near) values ('ghost', 4, '{}')");
    const service = new SearchService({ reads: primaryReads(pool), parallel: 2 });
    let rebuilding = true;
    const searches = (async () => {
      let answered = 0;
      while (rebuilding) {
        const { data } = await service.search({ q: "artist 77", entities: ["artist"], limit: 5 });
        answered += data.length > 0 ? 1 : 0;
        if (data.length === 0) throw new Error("nothing was found in the middle of a rebuild");
      }
      return answered;
    })();
    const { documents } = await rebuildSearchIndex(pool).finally(() => (rebuilding = false));
    expect(await searches).to.be.above(0);
    expect(await indexState(pool)).to.deep.equal(kept);
    expect(documents).to.equal((kept as { documents: unknown[] }).documents.length);
    const { rows } = await pool.query<{ name: string }>(
      "select indexrelid::regclass::text as name from pg_index where indrelid in ('search_documents'::regclass, 'search_words'::regclass) order by 1",
    );
    expect(rows.map(({ name }) => name)).to.deep.equal([
      "search_documents_name",
      "search_documents_pkey",
      "search_documents_popular_words",
      "search_documents_top_words",
      "search_documents_words",
      "search_words_near",
      "search_words_pkey",
    ]);
  });

  it("sorts documents into tiers by popularity, and keeps them bounded", async () => {
    await pool.query("update artists set popularity = id % 1000 where name like 'Artist %'");
    await catchUp(pool);
    await settleTiers(pool);
    const { rows } = await pool.query<{ tier: number; n: number; least: number; most: number }>(
      `select tier, count(*)::integer as n, min(popularity) as least, max(popularity) as most
         from search_documents group by tier order by tier`,
    );
    expect(rows.map(({ tier }) => tier)).to.deep.equal([0, 1]);
    const [top, next] = rows;
    expect(top!.n).to.be.within(2048, 8192);
    expect(top!.least).to.be.at.least(next!.most);
    expect(await settleTiers(pool)).to.equal(0);
    const [added] = await insertTracks(pool, [{ artist: nameKey("New"), title: "New", popularity: 5000 }]);
    await catchUp(pool);
    const placed = await pool.query<{ entity: string; tier: number }>(
      "select entity, tier from search_documents where (entity, entity_id) in (('track', $1), ('artist', $2))",
      [added!.trackId, added!.artistId],
    );
    expect(placed.rows).to.have.deep.members([
      { entity: "track", tier: 0 },
      { entity: "artist", tier: 2 }, // nobody has played it: it is behind all that is there
    ]);
    await expectAsIfNew();
  });

  it("leaves no entries behind that searches would have to read through", async () => {
    await insertTracks(pool, [{ artist: "Pending", title: "Waiting", album: "List" }]);
    await catchUp(pool);
    await pool.query("update tracks set title = 'Waited' where title = 'Waiting'");
    await catchUp(pool);
    const { rows } = await pool.query<{ name: string; pages: number }>(
      `select c.relname as name, gin_clean_pending_list(c.oid) as pages
         from pg_index i join pg_class c on c.oid = i.indexrelid
        where i.indrelid in ('search_documents'::regclass, 'search_words'::regclass)
          and c.relam = (select oid from pg_am where amname = 'gin') order by 1`,
    );
    expect(rows).to.deep.equal([
      { name: "search_documents_popular_words", pages: 0 },
      { name: "search_documents_top_words", pages: 0 },
      { name: "search_documents_words", pages: 0 },
      { name: "search_words_near", pages: 0 },
    ]);
  });
});
