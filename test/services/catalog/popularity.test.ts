import { expect } from "chai";
import type pg from "pg";
import { ADVISORY_LOCKS } from "../../../db/advisoryLocks.js";
import { LISTINGS, readVersions } from "../../../db/queries/cacheVersions.js";
import { primaryReads } from "../../../db/replica.js";
import { CatalogueService } from "../../../services/catalog/CatalogueService.js";
import { refreshPopularity } from "../../../services/catalog/popularity.js";
import { announceChange, historyOf } from "../../../db/queries/cacheVersions.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertPlays, type PlaySpec } from "../../support/plays.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";

describe("popularity", () => {
  let db: TestDatabase;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    user = await insertUser(pool());
  });
  after(() => db.drop());

  const pool = (): pg.Pool => db.database.pool;
  const refresh = () => refreshPopularity({ pool: pool(), leastPauseMs: 0 });
  /** The pause after a pass is a multiple of its length; without it here, so that nothing has to be waited for. */
  const rested = () =>
    pool().query("update popularity_state set took_ms = 0, finished_at = finished_at - interval '1 s'");
  const pass = async () => {
    await rested();
    return refresh();
  };
  const listings = async () => (await readVersions(pool(), [LISTINGS]))[0];
  const numbers = async () =>
    (
      await pool().query<{ name: string; n: number }>(
        `select name, popularity as n from artists where popularity > 0
         union all select title, popularity from albums where popularity > 0
         union all select title, popularity from tracks where popularity > 0 order by 1, 2`,
      )
    ).rows.map(({ name, n }) => `${name} ${n}`);
  const at = (n: number): string => new Date(Date.UTC(2024, 0, 1, 0, n)).toISOString();
  const add = (owner: string, ...specs: Omit<PlaySpec, "playedAt">[]) =>
    insertPlays(
      pool(),
      owner,
      specs.map((spec, n) => ({ playedAt: at(n), ...spec })),
    );

  it("counts everybody's plays, those that count, and of several sightings one", async () => {
    const other = await insertUser(pool());
    const [first] = await add(user, { artist: "A", track: "T", album: "L" });
    await add(
      user,
      { artist: "A", track: "T", album: "L", duplicateOf: first! },
      { artist: "A", track: "U", counted: false },
      { artist: "A", track: "U" },
    );
    await add(other, { artist: "A", track: "T" }, { artist: "B", track: "T", album: "L" });
    expect(await refresh()).to.equal(7);
    expect(await numbers()).to.deep.equal(["A 3", "B 1", "L 1", "L 1", "T 1", "T 2", "U 1"]);
  });

  it("writes nothing when nothing has changed, only what differs when something has, and tells of it once", async () => {
    const before = await listings();
    expect(await pass()).to.equal(null);
    expect(await listings()).to.equal(before);

    await add(user, { artist: "B", track: "T", album: "L" });
    expect(await refreshPopularity({ pool: pool(), leastPauseMs: 60_000 })).to.equal(null);
    expect(await pass()).to.equal(3);
    expect(await numbers()).to.include.members(["B 2", "L 2", "T 2"]);
    expect(await listings()).to.be.above(before!);

    const told = await listings();
    await announceChange(pool(), historyOf(user));
    expect(await pass()).to.equal(0);
    expect(await listings()).to.equal(told);
    await add(user, { artist: "C", track: "Never counted", counted: false });
    expect(await pass()).to.equal(0);
    expect(await listings(), "there is a new artist").to.be.above(told!);
  });

  it("follows plays that are deleted, moved by a merge, or gone with their account", async () => {
    const leaving = await insertUser(pool());
    await add(leaving, { artist: "D", track: "V" }, { artist: "E", track: "V" });
    await pass();
    expect(await numbers()).to.include.members(["D 1", "E 1"]);
    const catalogue = new CatalogueService({ pool: pool(), reads: primaryReads(pool()) });
    const idOf = async (name: string) =>
      (await pool().query<{ id: number }>("select id from artists where name = $1", [name])).rows[0]!.id;
    const { id: into } = (
      await pool().query<{ id: number }>("select id from tracks where artist_id = $1", [await idOf("D")])
    ).rows[0]!;
    const { id } = (
      await pool().query<{ id: number }>("select id from tracks where artist_id = $1", [await idOf("E")])
    ).rows[0]!;
    await catalogue.mergeTrack(id, into, () => undefined);
    await pass();
    expect((await numbers()).filter((line) => /^[DEV] /.test(line))).to.deep.equal(["D 2", "V 2"]);
    await pool().query("delete from users where id = $1", [leaving]);
    await pass();
    expect((await numbers()).filter((line) => /^[DEV] /.test(line))).to.deep.equal([]);
  });

  it("finishes what a pass that was cut off has begun", async () => {
    await add(user, { artist: "F", track: "W" });
    await pool().query(
      `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'cut off'; end $$;
       create trigger refuse before update of popularity on tracks for each row execute function refuse()`,
    );
    await rested();
    const before = await listings();
    expect(await rejection(refresh())).to.be.instanceOf(Error);
    expect(await listings()).to.equal(before);
    await pool().query("drop trigger refuse on tracks");
    expect(await pass()).to.equal(1); // the artist's number was written by the pass before
    expect(await numbers()).to.include.members(["F 1", "W 1"]);
    expect(await listings()).to.be.above(before!);
  });

  it("is counted by one process at a time", async () => {
    await add(user, { artist: "G", track: "X" });
    await rested();
    const busy = await pool().connect();
    try {
      await busy.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.popularity]);
      expect(await refresh()).to.equal(null);
      await busy.query("select pg_advisory_unlock($1)", [ADVISORY_LOCKS.popularity]);
    } finally {
      busy.release();
    }
    expect(await refresh()).to.equal(2);
  });

  it("is written beside an open batch of an import, row by row in bounded transactions", async () => {
    await add(user, { artist: "H", track: "Y" });
    await rested();
    const batch = await pool().connect();
    try {
      await batch.query("begin");
      await batch.query("select pg_advisory_xact_lock_shared($1)", [ADVISORY_LOCKS.catalogue]);
      // What a play's foreign key holds until the batch ends.
      await batch.query("select from tracks where title = 'Y' for key share");
      expect(await refresh()).to.equal(2);
    } finally {
      await batch.query("rollback");
      batch.release();
    }
  });
});
