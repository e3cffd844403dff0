import { randomUUID } from "node:crypto";
import { expect } from "chai";
import type pg from "pg";
import { announceChange, historyOf } from "../../../db/queries/cacheVersions.js";
import { usersDue } from "../../../db/queries/statsBuilds.js";
import { findRollup } from "../../../db/queries/statsRollups.js";
import { primaryReads } from "../../../db/replica.js";
import { ADVISORY_LOCKS } from "../../../db/advisoryLocks.js";
import { type CheckedAccount, checkStatistics } from "../../../services/stats/checking.js";
import { refreshUser } from "../../../services/stats/rebuild.js";
import { StatsService } from "../../../services/stats/StatsService.js";
import { refreshStatistics } from "../../../services/stats/upkeep.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertPlays } from "../../support/plays.js";
import { insertUser } from "../../support/users.js";
import { quietLog } from "../import/importing.js";

const AT_ONCE = { quietMs: 0, movingMs: 0, share: 0 };

describe("sums behind statistics", () => {
  let db: TestDatabase;
  let pool: pg.Pool;
  let stats: StatsService;
  let userId: string;

  before(async () => {
    db = await createTestDatabase();
    pool = db.database.pool;
    stats = new StatsService({ pool, reads: primaryReads(pool) });
  });
  after(() => db.drop());
  beforeEach(async () => {
    // What other tests leave would be due as well.
    await pool.query("delete from listening_history");
    await pool.query("delete from users");
    await pool.query("delete from tracks");
    await pool.query("delete from albums");
    await pool.query("delete from artists where name_key <> '[unknown]'");
    userId = await insertUser(pool);
    await insertPlays(pool, userId, [
      { playedAt: "2023-12-31T23:30:00Z", artist: "A", track: "One" },
      { playedAt: "2024-06-01T12:00:00Z", artist: "A", track: "Two", album: "Album" },
      { playedAt: "2024-07-01T12:00:00Z", artist: "B", track: "Three", album: "Album" },
    ]);
  });

  const pass = () => refreshStatistics({ pool, log: quietLog }, AT_ONCE);
  const rollup = () => findRollup(pool, { userId, hidePrivate: false });
  const top = async (): Promise<string[]> => {
    const { items } = await stats.top(userId, "artist", { limit: 10 });
    const parsed = JSON.parse(`[${items}]`) as { artist: { name: string }; plays: number }[];
    return parsed.map(({ artist, plays }) => `${artist.name} ${plays}`);
  };
  const tamper = () => pool.query("update stats_years set plays = 1000 where user_id = $1", [userId]);
  const years = async (): Promise<number[]> => {
    const { rows } = await pool.query<{ year: number }>(
      "select year from stats_years where user_id = $1 order by year",
      [userId],
    );
    return rows.map(({ year }) => year);
  };

  it("are made for whoever's plays have changed, and then read", async () => {
    expect((await stats.summary(userId, {})).plays).to.equal(3);
    expect(await pass()).to.equal(1);
    expect(await years()).to.deep.equal([0, 2023, 2024]);
    await tamper();
    expect((await stats.summary(userId, {})).plays).to.equal(1000);
    expect(await pass()).to.equal(0);
  });

  it("are not read once the plays have changed, until they are made again", async () => {
    await pass();
    await tamper();
    await insertPlays(pool, userId, [{ playedAt: "2024-08-01T12:00:00Z", artist: "B", track: "Three" }]);
    expect((await stats.summary(userId, {})).plays).to.equal(4);
    expect(await top()).to.deep.equal(["A 2", "B 2"]);
    expect(await pass()).to.equal(1);
    expect(await rollup()).to.deep.include({ years: [2023, 2024], whole: true });
    expect(
      (
        await stats.summary(userId, {
          from: new Date("2023-01-01T00:00:00Z"),
          until: new Date("2024-01-01T00:00:00Z"),
        })
      ).plays,
    ).to.equal(1000, "a year that has the plays it had is not made again");
    expect((await stats.summary(userId, {})).plays).to.equal(1003);
  });

  it("are left alone while a history changes, but not for ever", async () => {
    const due = (when: { quietMs?: number; movingMs?: number; share?: number }) =>
      usersDue(pool, { quietMs: 60_000, movingMs: 600_000, share: 20, limit: 10, ...when });
    expect(await due({})).to.deep.equal([]);
    expect(await due({ quietMs: 0 })).to.deep.equal([userId]);
    expect(await due({ movingMs: 0 })).to.deep.equal([userId]);
    await pass();
    await announceChange(pool, historyOf(userId));
    expect(await due({ quietMs: 0, share: 0 })).to.deep.equal([userId]);
    await pool.query("update stats_users set build_ms = 60000");
    expect(await due({ quietMs: 0 })).to.deep.equal(
      [],
      "making them took a minute, which is to be a twentieth",
    );
    await pool.query("update stats_users set built_at = now() - interval '21 minutes'");
    expect(await due({})).to.deep.equal([userId]);
    await pool.query("update users set disabled_at = now()");
    expect(await due({})).to.deep.equal([]);
  });

  it("are left alone while an import runs, whose next batch would make them wrong", async () => {
    const due = (movingMs: number) => usersDue(pool, { quietMs: 0, movingMs, share: 0, limit: 10 });
    await pool.query(
      `insert into import_jobs (id, user_id, kind, status, filename, size_bytes, sha256, options_hash, batch_rows, workflow_id)
       values ($1, $2, 'file', 'running', 'a.zip', 1, sha256('a'), '', 1000, 'import-of-stats')`,
      [randomUUID(), userId],
    );
    await pool.query("update users set created_at = now() - interval '1 day'");
    expect(await due(60_000)).to.deep.equal([]);
    expect(await due(0)).to.deep.equal([userId], "it runs, but has written nothing for so long");
    await pool.query("update import_jobs set status = 'completed', finished_at = now()");
    expect(await due(60_000)).to.deep.equal([userId]);
  });

  it("have the years of the user's time zone, and are made anew when it changes", async () => {
    await pass();
    await pool.query("update users set time_zone = 'Asia/Tokyo' where id = $1", [userId]);
    expect(await pass()).to.equal(1);
    expect(await years()).to.deep.equal([0, 2024]);
    expect(await rollup()).to.deep.include({ timeZone: "Asia/Tokyo" });
    const sums = await stats.activity(userId, { bucket: "year" });
    expect(sums).to.deep.equal([{ bucket: "2024-01-01", plays: 3, msPlayed: 540_000 }]);
    // In another zone the years are others: counted.
    expect(
      (await stats.activity(userId, { bucket: "year", tz: "UTC" })).map(({ plays }) => plays),
    ).to.deep.equal([1, 2]);
  });

  it("go when the plays go, and the account", async () => {
    await pass();
    await pool.query("delete from listening_history where user_id = $1", [userId]);
    await announceChange(pool, historyOf(userId));
    await pass();
    expect(await years()).to.deep.equal([]);
    expect(await rollup()).to.deep.include({ years: [], whole: true });
    expect(await stats.summary(userId, {})).to.deep.include({ plays: 0, firstAt: null });
    expect((await stats.top(userId, "track", { limit: 5 })).items).to.equal("");
    expect(await stats.activity(userId, { bucket: "day" })).to.deep.equal([]);
    await pool.query("delete from users where id = $1", [userId]);
    expect((await pool.query("select from stats_users")).rowCount).to.equal(0);
    expect(await refreshUser(pool, userId)).to.equal(null);
  });

  describe("when plays move in the catalogue, which announces no history", () => {
    const merges: readonly (readonly [
      what: string,
      statements: readonly string[],
      wanted: readonly string[],
    ])[] = [
      [
        "by an artist's tracks",
        ["update tracks set artist_id = (select id from artists where name = 'A') where title = 'Three'"],
        ["A 3"],
      ],
      [
        "by a track's plays",
        [
          `update listening_history h set track_id = t.id, artist_id = t.artist_id from tracks t
            where t.title = 'One' and h.track_id = (select id from tracks where title = 'Three')`,
        ],
        ["A 3"],
      ],
    ];
    for (const [what, statements, wanted] of merges) {
      it(`are not read any more: moved ${what}`, async () => {
        await pass();
        expect(await top()).to.deep.equal(["A 2", "B 1"]);
        for (const statement of statements) await pool.query(statement);
        expect(await rollup()).to.equal(null);
        expect(await top()).to.deep.equal(wanted);
        expect(await pass()).to.equal(1);
        expect(await rollup()).not.to.equal(null);
        expect(await top()).to.deep.equal(wanted);
      });
    }

    it("are not read any more: an album that goes", async () => {
      await pass();
      await pool.query("delete from albums where artist_id = (select id from artists where name = 'B')");
      expect(await rollup()).to.equal(null);
      await pass();
      expect((await stats.summary(userId, {})).albums).to.equal(1);
    });

    it("are made again for a move that was not over when they were made", async () => {
      const mover = await pool.connect();
      try {
        await mover.query("begin");
        await mover.query(
          "update tracks set artist_id = (select id from artists where name = 'A') where title = 'Three'",
        );
        await pass();
        expect(await top()).to.deep.equal(["A 2", "B 1"]);
        await mover.query("commit");
        expect(await rollup()).to.equal(null);
        expect(await top()).to.deep.equal(["A 3"]);
        await pass();
        expect(await rollup()).not.to.equal(null);
        expect(await top()).to.deep.equal(["A 3"]);
      } finally {
        mover.release(true);
      }
    });

    it("stay when plays change otherwise", async () => {
      await pass();
      await pool.query("update listening_history set import_job_id = gen_random_uuid(), version = 2");
      expect(await rollup()).not.to.equal(null);
    });
  });

  it("are made by one process at a time", async () => {
    const other = await pool.connect();
    try {
      await other.query("select pg_advisory_lock($1)", [ADVISORY_LOCKS.statistics]);
      expect(await pass()).to.equal(null);
      expect(await checkStatistics(pool, { keep: false, each: () => undefined })).to.equal(null);
    } finally {
      other.release(true);
    }
  });

  it("of a time zone that the database does not know keep nobody else waiting, and the plays are counted", async () => {
    const otherId = await insertUser(pool);
    await insertPlays(pool, otherId, [{ playedAt: "2024-01-01T00:00:00Z" }]);
    await pool.query("update users set time_zone = 'Europe/Atlantis' where id = $1", [userId]);
    expect(await pass()).to.equal(1);
    expect((await stats.summary(otherId, {})).plays).to.equal(1);
    expect((await stats.summary(userId, {})).plays).to.equal(3);
  });

  describe("can be checked:", () => {
    const check = async (keep: boolean): Promise<CheckedAccount[]> => {
      const found: CheckedAccount[] = [];
      await checkStatistics(pool, { keep, each: (account) => found.push(account) });
      return found;
    };
    const states = async (keep = false) =>
      (await check(keep)).map(({ state, years: wrong }) => [state, wrong]);

    it("right, older than the plays, or not there", async () => {
      expect(await states()).to.deep.equal([["none", []]]);
      await pass();
      expect(await states()).to.deep.equal([["right", []]]);
      await announceChange(pool, historyOf(userId));
      expect(await states()).to.deep.equal([["behind", []]]);
    });

    it("wrong, by year, and put right", async () => {
      await pass();
      await pool.query(
        "update stats_years set artist_plays = array_fill(9, array[cardinality(artist_plays)]) where year = 2024",
      );
      expect(await states()).to.deep.equal([["wrong", [2024]]]);
      expect(await states()).to.deep.equal([["wrong", [2024]]], "a check changes nothing");
      // A play that was taken away by hand, and announced to nobody.
      await pool.query("delete from listening_history where played_at < '2024-01-01'");
      expect(await states(true)).to.deep.equal([["wrong", [0, 2023, 2024]]]);
      expect(await states()).to.deep.equal([["right", []]]);
      expect((await stats.summary(userId, {})).plays).to.equal(2);
    });

    it("made for whoever has none, when they are to be kept", async () => {
      expect(await states(true)).to.deep.equal([["none", []]]);
      expect(await states()).to.deep.equal([["right", []]]);
    });
  });
});
