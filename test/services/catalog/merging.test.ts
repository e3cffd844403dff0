import { expect } from "chai";
import type pg from "pg";
import { CatalogueService } from "../../../services/catalog/CatalogueService.js";
import { lockCatalogueAlone } from "../../../services/catalog/lock.js";
import { Moved } from "../../../services/catalog/references.js";
import { primaryReads } from "../../../db/replica.js";
import { CatalogueResolver } from "../../../services/import/writing/resolver.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { untilBlocked } from "../../support/locks.js";
import { insertUser } from "../../support/users.js";
import { countsOfJob, createBench, json, play } from "../import/importing.js";
import type { ImportBench } from "../import/importing.js";

const ANY = (): void => undefined;

describe("merging beside imports", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let catalogue: CatalogueService;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    catalogue = new CatalogueService({ pool: db.database.pool, reads: primaryReads(db.database.pool) });
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = (): pg.Pool => db.database.pool;
  const idOf = async (table: "artists" | "tracks" | "albums", key: string): Promise<number> => {
    const column = table === "artists" ? "name_key" : "title_key";
    const { rows } = await pool().query<{ id: number }>(`select id from ${table} where ${column} = $1`, [
      key,
    ]);
    expect(rows, key).to.have.length(1);
    return rows[0]!.id;
  };
  const importPlays = async (
    user: string,
    records: readonly unknown[],
    batchRows?: number,
  ): Promise<string> => {
    const job = await bench.job(user, json(records), batchRows === undefined ? {} : { batchRows });
    expect(await bench.run(job)).to.equal("completed");
    return job;
  };
  /** What no play, and nothing else, may point to. */
  const strays = async () =>
    (
      await pool().query<{ n: number }>(
        `select (select count(*) from listening_history h join catalogue_merges m on m.entity = 'track' and m.old_id = h.track_id)
              + (select count(*) from listening_history h join catalogue_merges m on m.entity = 'artist' and m.old_id = h.artist_id)
              + (select count(*) from listening_history h join catalogue_merges m on m.entity = 'album' and m.old_id = h.album_id)
              + (select count(*) from external_ids e join catalogue_merges m on m.entity = e.entity and m.old_id = e.entity_id)
              + (select count(*) from catalogue_merges m join catalogue_merges n on n.entity = m.entity and n.old_id = m.into_id)
              + (select count(*) from tracks t join track_aliases a using (artist_id, title_key, album_key))
              + (select count(*) from artists t join artist_aliases a using (name_key))
              + (select count(*) from albums t join album_aliases a using (artist_id, title_key))
              + (select count(*) from listening_history h where album_id is not null and not exists (
                   select from album_tracks p where p.album_id = h.album_id and p.track_id = h.track_id)) as n`,
      )
    ).rows[0]!.n;

  it("lets an import that remembers what was merged away find what it is now", async () => {
    const user = await insertUser(pool());
    const file = (from: number) =>
      Array.from({ length: 20 }, (_, n) =>
        play(from + n, {
          ...{ artist: n % 2 === 0 ? "Kept" : "Merged", title: `Same ${n >> 1}`, album: "Both" },
          uri: `spotify:track:${String(n).padStart(22, "M")}`,
        }),
      );
    await importPlays(user, file(0));
    const [kept, merged] = [await idOf("artists", "kept"), await idOf("artists", "merged")];
    await catalogue.mergeArtist(merged, kept, ANY);
    // The steps of this bench are one process: they remember the ids of before.
    await importPlays(user, file(1000));
    const { rows } = await pool().query<{ tracks: number; artists: number; albums: number; plays: number }>(
      `select count(distinct track_id) as tracks, count(distinct artist_id) as artists, count(distinct album_id) as albums,
              count(*) as plays
         from listening_history where user_id = $1`,
      [user],
    );
    expect(rows).to.deep.equal([{ tracks: 10, artists: 1, albums: 1, plays: 40 }]);
    expect(await strays()).to.equal(0);
  });

  it("files later imports, by old names and old strong ids, under what was merged and renamed", async () => {
    const user = await insertUser(pool());
    const old = {
      artist: "Puff Daddy",
      title: "Victory",
      album: "No Way Out",
      uri: `spotify:track:${"V".repeat(22)}`,
    };
    await importPlays(user, [play(0, old)]);
    await importPlays(user, [play(1, { ...old, artist: "Diddy", uri: `spotify:track:${"W".repeat(22)}` })]);
    const { rows: tracks } = await pool().query<{ id: number; artist: string }>(
      "select t.id, a.name as artist from tracks t join artists a on a.id = t.artist_id where title_key = 'victory' order by t.id",
    );
    const [loser, survivor] = tracks.map(({ id }) => id);
    await catalogue.mergeTrack(loser!, survivor!, ANY);
    await catalogue.editArtist(await idOf("artists", "puff daddy"), { name: "Sean Combs" }, ANY);
    await catalogue.editTrack(survivor!, { title: "Victory (Remaster)" }, ANY);
    await catalogue.editAlbum(
      (
        await pool().query<{ id: number }>(
          "select album_id as id from listening_history where track_id = $1 limit 1",
          [survivor],
        )
      ).rows[0]!.id,
      { title: "No Way In" },
      ANY,
    );

    // Another process: nothing is remembered.
    const resolver = new CatalogueResolver(pool());
    const strong = (id: string) => ({ provider: "spotify", id }) as const;
    const { ids } = await resolver.resolve([
      { artist: "Puff Daddy", title: "victory", album: "No Way Out", trackId: null, durationMs: null },
      { artist: "Diddy", title: "Victory", album: "No Way Out", trackId: null, durationMs: null },
      {
        artist: "Anybody",
        title: "Anything",
        album: null,
        trackId: strong("V".repeat(22)),
        durationMs: null,
      },
      {
        artist: "Anybody",
        title: "Anything",
        album: null,
        trackId: strong("W".repeat(22)),
        durationMs: null,
      },
    ]);
    expect(new Set(ids.map((place) => place!.trackId))).to.deep.equal(new Set([survivor]));
    expect(new Set(ids.map((place) => place!.artistId)).size).to.equal(1);
    await importPlays(user, [play(2, old), play(3, { ...old, artist: "Diddy" })]);
    const { rows } = await pool().query(
      "select count(*)::int as n from listening_history where track_id = $1",
      [survivor],
    );
    expect(rows).to.deep.equal([{ n: 4 }]);
    expect(await strays()).to.equal(0);
  });

  it("waits for a batch that files plays, and the next batch for it", async () => {
    const user = await insertUser(pool());
    await importPlays(user, [
      play(0, { artist: "Waits", title: "One" }),
      play(1, { artist: "Waits", title: "Two", uri: `spotify:track:${"2".repeat(22)}` }),
    ]);
    const [one, two] = [await idOf("tracks", "one"), await idOf("tracks", "two")];
    const busy = await pool().connect();
    try {
      await busy.query("begin");
      await lockCatalogueAlone(busy);
      const merging = catalogue.mergeTrack(one, two, ANY);
      const importing = importPlays(user, [play(2, { artist: "Waits", title: "One" })]);
      await untilBlocked(pool());
      await busy.query("commit");
      await Promise.all([merging, importing]);
    } finally {
      busy.release();
    }
    const { rows } = await pool().query(
      "select count(*)::int as n from listening_history where user_id = $1 and track_id = $2",
      [user, two],
    );
    expect(rows).to.deep.equal([{ n: 3 }]);
    expect(await strays()).to.equal(0);
  });

  it("loses no play and ends in no deadlock, however imports, undone imports, merges and renames meet", async () => {
    const users = await Promise.all([0, 1, 2].map(() => insertUser(pool())));
    const ARTISTS = 6;
    const ROWS = 300;
    const file = (seed: number) =>
      Array.from({ length: ROWS }, (_, n) => {
        const at = (n * 7 + seed) % ROWS;
        return play(at, {
          ...{ artist: `Storm ${at % ARTISTS}`, title: `Rain ${at % 10}`, album: `Cloud ${at % 4}` },
          uri: `spotify:track:${String(at % 60).padStart(22, "R")}`,
        });
      });
    await importPlays(users[0]!, file(0), 50);
    const artists = await Promise.all(
      Array.from({ length: ARTISTS }, (_, n) => idOf("artists", `storm ${n}`)),
    );

    const undone = await insertUser(pool());
    const leaving = await importPlays(undone, file(5), 10);
    const deadlocksBefore = await deadlocks();
    const imports = users.map((user, n) => importPlays(user, file(n * 13), 20));
    const editing = (async () => {
      for (let n = 1; n < ARTISTS; n += 1) {
        await catalogue.editArtist(artists[n]!, { name: `Tempest ${n}` }, ANY);
        await catalogue.mergeArtist(artists[n]!, artists[0]!, ANY);
      }
    })();
    const undoing = (async () => {
      await pool().query("update import_jobs set status = 'undoing', version = version + 1 where id = $1", [
        leaving,
      ]);
      return bench.steps.undo(leaving, bench.context());
    })();
    const jobs = await Promise.all(imports);
    await editing;
    expect(await undoing).to.deep.equal({ removed: ROWS, handedOver: 0 });

    const { rows } = await pool().query(
      `select count(*)::int as plays, count(distinct artist_id)::int as artists, count(distinct track_id)::int as tracks
         from listening_history where user_id = any($1::uuid[])`,
      [users],
    );
    expect(rows).to.deep.equal([{ plays: users.length * ROWS, artists: 1, tracks: 10 }]);
    const counts = await Promise.all(jobs.map((job) => countsOfJob(pool(), job)));
    expect(counts.map(({ inserted, duplicate }) => inserted + duplicate)).to.deep.equal([ROWS, ROWS, ROWS]);
    expect(await catalogue.findArtist(artists[3]!)).to.be.instanceOf(Moved);
    expect(await strays()).to.equal(0);
    expect(await deadlocks()).to.equal(deadlocksBefore);
  });

  async function deadlocks(): Promise<number> {
    const { rows } = await pool().query<{ n: number }>(
      "select deadlocks as n from pg_stat_database where datname = current_database()",
    );
    return rows[0]!.n;
  }
});
