import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import type pg from "pg";
import { USER_PLAYS_LOCK } from "../../../db/advisoryLocks.js";
import { createDatabase } from "../../../db/knex.js";
import { primaryReads } from "../../../db/replica.js";
import { CatalogueService } from "../../../services/catalog/CatalogueService.js";
import { SHARE_CATALOGUE } from "../../../services/catalog/lock.js";
import { Moved } from "../../../services/catalog/references.js";
import { PreconditionFailedError } from "../../../utils/errors.js";
import { createTestDatabase, databaseSettings, type TestDatabase } from "../../support/database.js";
import { insertPlays } from "../../support/plays.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";
import { createBench, type ImportBench, json, play } from "../import/importing.js";

const PLAYS = 5000;
const AT_ONCE = 250;
/** For as long as this a batch of an import would wait; all plays in one go take several times as long. */
const PATIENCE_MS = 500;
const ANY = (): void => undefined;

describe("merging what has very many plays", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let catalogue: CatalogueService;
  let users: readonly string[];
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    users = [await insertUser(pool()), await insertUser(pool())];
    catalogue = new CatalogueService({
      ...{ pool: pool(), reads: primaryReads(pool()) },
      playsAtOnce: AT_ONCE,
    });
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = (): pg.Pool => db.database.pool;
  const one = async <T>(text: string, values: readonly unknown[] = []): Promise<T> =>
    (await pool().query<{ value: T }>(`select (${text}) as value`, [...values])).rows[0]!.value;
  const artistNamed = (key: string) => one<number>("select id from artists where name_key = $1", [key]);
  const trackNamed = (artist: string, title: string) =>
    one<number>(
      "select t.id from tracks t join artists a on a.id = t.artist_id where a.name_key = $1 and t.title_key = $2",
      [artist, title],
    );
  const playsOf = (trackId: number) =>
    one<number>("select count(*)::integer from listening_history where track_id = $1", [trackId]);
  /** As many more plays like the first one of this track, a minute apart, of both listeners in turn. */
  const multiply = (trackId: number, plays: number) =>
    pool().query(
      `insert into listening_history (user_id, track_id, artist_id, album_id, played_at, start_earliest, start_latest,
         ms_played, precision, source, counted, source_key)
       select case when n % 4 = 0 then $3::uuid else $4::uuid end, track_id, artist_id, album_id, at, at, at, ms_played, precision, source,
              counted, decode(md5(id::text || n), 'hex')
         from (select * from listening_history where track_id = $1 limit 1) p
         cross join generate_series(1, $2::integer) n
         cross join lateral (select p.played_at + make_interval(mins => n / 2) as at) t`,
      [trackId, plays, users[0], users[1]],
    );
  /** Everything that is not as plays and the catalogue have to be. */
  const wrong = () =>
    one<number>(`
      select (select count(*) from listening_history h join tracks t on t.id = h.track_id
               where h.artist_id <> t.artist_id)
           + (select count(*) from listening_history h where album_id is not null and not exists (
                select from album_tracks p where p.album_id = h.album_id and p.track_id = h.track_id))
           + (select count(*) from tracks t join track_aliases a using (artist_id, title_key, album_key))
           + (select count(*) from catalogue_merges m join catalogue_merges n on n.entity = m.entity and n.old_id = m.into_id)`);

  /** Takes the locks of a batch again and again until `work` is done, and looks how far that is. */
  async function beside<T>(work: Promise<T>, trackId: number): Promise<{ result: T; seen: number[] }> {
    const seen: number[] = [];
    let done = false;
    const finished = work.finally(() => {
      done = true;
    });
    const client = await pool().connect();
    try {
      await client.query(`set lock_timeout = ${PATIENCE_MS}`);
      while (!done) {
        await client.query("begin");
        await client.query(`select pg_advisory_xact_lock_shared(${USER_PLAYS_LOCK}), ${SHARE_CATALOGUE}`, [
          users[1],
        ]);
        await client.query("commit");
        seen.push(await playsOf(trackId));
        await sleep(5);
      }
    } finally {
      client.release(true);
    }
    return { result: await finished, seen };
  }

  it("keeps no batch waiting for all of them, and moves every play of a track", async () => {
    await insertPlays(pool(), users[0]!, [
      { playedAt: "2020-01-01T00:00:00Z", artist: "Ann", track: "Old", album: "Red" },
      { playedAt: "2020-01-01T00:00:01Z", artist: "Bob", track: "New", album: "Blue" },
    ]);
    const [old, now] = [await trackNamed("ann", "old"), await trackNamed("bob", "new")];
    await multiply(old, PLAYS);
    const { result, seen } = await beside(catalogue.mergeTrack(old, now, ANY), old);
    expect(result).to.include({ id: now });
    const between = new Set(seen.filter((plays) => plays > 0 && plays <= PLAYS));
    expect(between.size, "looks that found some of them moved").to.be.greaterThan(3);
    expect([await playsOf(old), await playsOf(now), await wrong()]).to.deep.equal([0, PLAYS + 2, 0]);
    expect(await catalogue.findTrack(old)).to.deep.equal(new Moved(now));
    // The same again, and for the albums.
    expect(await catalogue.mergeTrack(old, now, ANY)).to.include({ id: now });
    const albums = [
      await one<number>("select id from albums where title_key = 'red'"),
      await one<number>("select id from albums where title_key = 'blue'"),
    ] as const;
    await catalogue.mergeAlbum(albums[0], albums[1], ANY);
    expect(
      await one("select count(*)::integer from listening_history where album_id = $1", [albums[1]]),
    ).to.equal(PLAYS + 2);
    expect(await wrong()).to.equal(0);
  });

  it("moves an artist's tracks in groups, and gives those with very many plays a twin that the old id leads to", async () => {
    const names = ["Shared", "Huge", "A", "B", "C"];
    await insertPlays(
      pool(),
      users[0]!,
      names.map((track, n) => ({
        ...{ playedAt: `2021-01-01T00:00:0${n}Z`, artist: "From", album: "Same", track },
      })),
    );
    await insertPlays(pool(), users[1]!, [
      { playedAt: "2021-01-01T00:00:00Z", artist: "To", album: "Same", track: "Shared" },
    ]);
    const [from, to] = [await artistNamed("from"), await artistNamed("to")];
    const tracks = new Map<string, number>();
    for (const name of names) tracks.set(name, await trackNamed("from", name.toLowerCase()));
    const huge = tracks.get("Huge")!;
    await multiply(huge, 2000);
    await multiply(tracks.get("Shared")!, 600);
    for (const name of ["A", "B", "C"]) await multiply(tracks.get(name)!, 200);

    const { result, seen } = await beside(catalogue.mergeArtist(from, to, ANY), huge);
    expect(result).to.include({ id: to, name: "To" });
    expect(new Set(seen).size, "looks that found it further").to.be.greaterThan(2);
    expect(await one("select count(*)::integer from listening_history where artist_id = $1", [to])).to.equal(
      2000 + 600 + 3 * 200 + names.length + 1,
    );
    expect([await one("select count(*) from artists where id = $1", [from]), await wrong()]).to.deep.equal([
      0, 0,
    ]);
    const twin = await trackNamed("to", "huge");
    expect(twin).not.to.equal(huge);
    expect(await catalogue.findTrack(huge)).to.deep.equal(new Moved(twin));
    expect([await playsOf(twin), await playsOf(await trackNamed("to", "shared"))]).to.deep.equal([2001, 602]);
    for (const name of ["A", "B", "C"]) {
      expect(await trackNamed("to", name.toLowerCase()), name).to.equal(tracks.get(name));
    }
    expect(await one("select count(*)::integer from albums where artist_id = $1", [to])).to.equal(1);
  });

  it("loses no play of an import that brings more of them meanwhile", async () => {
    await insertPlays(pool(), users[0]!, [
      { playedAt: "2022-01-01T00:00:00Z", artist: "Eve", track: "Before" },
      { playedAt: "2022-01-01T00:00:01Z", artist: "Eve", track: "After" },
    ]);
    const [before, after] = [await trackNamed("eve", "before"), await trackNamed("eve", "after")];
    await multiply(before, 3000);
    const records = Array.from({ length: 300 }, (_, n) => play(n, { artist: "Eve", title: "Before" }));
    const job = await bench.job(users[1]!, json(records), { batchRows: 20 });
    const [status] = await Promise.all([bench.run(job), catalogue.mergeTrack(before, after, ANY)]);
    expect(status).to.equal("completed");
    expect(await playsOf(after)).to.equal(3000 + 2 + records.length);
    expect(await wrong()).to.equal(0);
  });

  it("moves nothing when the editor has not seen what is to go, and goes on where one broke off", async () => {
    await insertPlays(pool(), users[0]!, [
      { playedAt: "2023-01-01T00:00:00Z", artist: "Kay", track: "Half" },
      { playedAt: "2023-01-01T00:00:01Z", artist: "Kay", track: "Whole" },
    ]);
    const [half, whole] = [await trackNamed("kay", "half"), await trackNamed("kay", "whole")];
    await multiply(half, 1500);
    const stale = catalogue.mergeTrack(half, whole, () => {
      throw new PreconditionFailedError();
    });
    expect(await rejection(stale)).to.be.instanceOf(PreconditionFailedError);
    expect(await playsOf(half)).to.equal(1501);

    await pool().query(`
      create function break_off() returns trigger language plpgsql as
        $$ begin if (select count(*) from listening_history where track_id = ${whole}) > 800 then raise 'broken off'; end if; return null; end $$;
      create trigger break_off after update on listening_history for each statement execute function break_off()`);
    expect(String(await rejection(catalogue.mergeTrack(half, whole, ANY)))).to.include("broken off");
    await pool().query("drop trigger break_off on listening_history");
    const left = await playsOf(half);
    expect(left).to.be.within(1501 - 800, 1501 - AT_ONCE);
    expect(await playsOf(whole)).to.equal(1502 - left);
    expect(await wrong()).to.equal(0);
    // Where there is one connection only, it does not wait for another one.
    const settings = { ...databaseSettings(db.url), poolMax: 1 };
    const narrow = createDatabase(settings, { applicationName: "playlog-test" });
    try {
      const service = new CatalogueService({
        ...{ pool: narrow.pool, reads: primaryReads(narrow.pool) },
        playsAtOnce: AT_ONCE,
      });
      expect(await service.mergeTrack(half, whole, ANY)).to.include({ id: whole });
    } finally {
      await narrow.close();
    }
    expect([await playsOf(half), await playsOf(whole)]).to.deep.equal([0, 1502]);
  });
});
