import { expect } from "chai";
import fc from "fast-check";
import type pg from "pg";
import { announceChange, historyOf } from "../../../db/queries/cacheVersions.js";
import type { StatsSelection, TopKind } from "../../../db/queries/stats.js";
import { findRollup } from "../../../db/queries/statsRollups.js";
import { primaryReads } from "../../../db/replica.js";
import { BUCKETS } from "../../../services/stats/buckets.js";
import type { Moment } from "../../../services/stats/ranges.js";
import { checkUser, refreshUser } from "../../../services/stats/rebuild.js";
import { StatsService } from "../../../services/stats/StatsService.js";
import { dayNumber } from "../../../utils/timeZones.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { insertPlays } from "../../support/plays.js";
import { insertUser } from "../../support/users.js";
import { bucketOf, localTime, type ReckonedPlay, summaryOf, sumsBy } from "./reckoning.js";

const HOUR_MS = 3_600_000;
const PLAYS = 140;
/** Clocks are put at two, at midnight, by half an hour, a minute after midnight, and over the date line. */
const ZONES = [
  "Europe/Amsterdam",
  "America/Sao_Paulo",
  "America/Havana",
  "Australia/Lord_Howe",
  "America/St_Johns",
  "Pacific/Apia",
] as const;
const FIRST_YEAR = 2009;
const LAST_YEAR = 2013;

interface Stored extends ReckonedPlay {
  readonly id: number;
}

/** Instants at which the zone's clocks are put, and the beginnings of its years. */
function turningPoints(zone: string): readonly number[] {
  const points: number[] = [];
  const begin = Date.UTC(FIRST_YEAR, 0, 1);
  const end = Date.UTC(LAST_YEAR + 1, 0, 1);
  const at = (instant: number) => localTime(new Date(instant).toISOString(), zone);
  for (let day = begin; day < end; day += 24 * HOUR_MS) {
    const [before, after] = [at(day), at(day + 24 * HOUR_MS)];
    if (before.offset === after.offset && before.date.slice(0, 4) === after.date.slice(0, 4)) continue;
    for (let hour = day; hour < day + 24 * HOUR_MS; hour += HOUR_MS / 2) {
      const [a, b] = [at(hour), at(hour + HOUR_MS / 2)];
      if (a.offset !== b.offset || a.date.slice(0, 4) !== b.date.slice(0, 4)) points.push(hour);
    }
  }
  return points;
}

const playArbitrary = (points: readonly number[]): fc.Arbitrary<ReckonedPlay> =>
  fc
    .record({
      near: fc.integer({ min: 0, max: points.length - 1 }),
      away: fc.oneof(
        { weight: 4, arbitrary: fc.integer({ min: -7200, max: 7200 }) },
        { weight: 1, arbitrary: fc.integer({ min: -4_000_000, max: 4_000_000 }) },
      ),
      artist: fc.integer({ min: 0, max: 6 }),
      track: fc.integer({ min: 0, max: 3 }),
      album: fc.option(fc.integer({ min: 0, max: 1 })),
      msPlayed: fc.option(fc.integer({ min: 0, max: 400_000 }), { freq: 8 }),
      counted: fc.integer({ min: 0, max: 9 }),
      private: fc.integer({ min: 0, max: 9 }),
    })
    .map((made) => ({
      playedAt: new Date((points[made.near] ?? 0) + made.away * 1000).toISOString(),
      artist: `Artist ${made.artist}`,
      track: `Track ${made.track}`,
      album: made.album === null ? null : `Album ${made.album}`,
      msPlayed: made.msPlayed,
      counted: made.counted > 0,
      private: made.private === 0,
    }));

describe("statistics against a plain reckoning", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let pool: pg.Pool;
  let stats: StatsService;

  before(async () => {
    db = await createTestDatabase();
    pool = db.database.pool;
    stats = new StatsService({ pool, reads: primaryReads(pool) });
  });
  after(() => db.drop());

  async function insert(userId: string, plays: readonly ReckonedPlay[]): Promise<Stored[]> {
    const ids = await insertPlays(
      pool,
      userId,
      plays.map((play) => ({ ...play, context: play.private ? { incognito: true } : { shuffle: true } })),
    );
    return plays.map((play, index) => ({ ...play, id: ids[index] ?? 0 }));
  }

  async function sameTop(
    readerId: string,
    userId: string,
    kind: TopKind,
    plays: readonly ReckonedPlay[],
    range: { readonly from?: Moment; readonly until?: Moment },
    tz: string,
  ): Promise<void> {
    const items: { artist?: Named; album?: Titled; track?: Titled; plays: number; msPlayed: number }[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const query = { ...range, tz, userId, limit: 9, ...(cursor === "" ? {} : { cursor }) };
      const page: Awaited<ReturnType<StatsService["top"]>> = await stats.top(readerId, kind, query);
      items.push(...(JSON.parse(`[${page.items}]`) as typeof items));
      cursor = page.nextCursor;
    }
    const nameOf = (item: (typeof items)[number]): string =>
      kind === "artist" ? (item.artist?.name ?? "") : `${item[kind]?.artist.name} ${item[kind]?.title}`;
    const found = new Map(items.map((item) => [nameOf(item), [item.plays, item.msPlayed] as const]));
    const wanted = sumsBy(plays, (play) =>
      kind === "artist" ? play.artist : play[kind] === null ? null : `${play.artist} ${play[kind]}`,
    );
    expect(Object.fromEntries(found), kind).to.deep.equal(Object.fromEntries(wanted));
    expect(items).to.have.length(wanted.size);
    for (const [index, item] of items.slice(1).entries()) {
      const before = items[index]!;
      const [a, b] = [before[kind]?.id ?? 0, item[kind]?.id ?? 0];
      expect(before.plays > item.plays || (before.plays === item.plays && a < b), kind).to.equal(true);
    }
  }

  /** All statistics of a range that has exactly these plays. */
  async function sameAsPlain(
    readerId: string,
    userId: string,
    plays: readonly ReckonedPlay[],
    range: { readonly from?: Moment; readonly until?: Moment },
    tz: string,
  ): Promise<void> {
    const query = { ...range, tz, userId };
    expect(await stats.summary(readerId, query)).to.deep.equal(summaryOf(plays));
    for (const kind of ["artist", "album", "track"] as const)
      await sameTop(readerId, userId, kind, plays, range, tz);
    for (const bucket of BUCKETS) {
      // Too long a time for hours, where it is open.
      if (bucket === "hour" && (range.from === undefined || range.until === undefined)) continue;
      const sums = await stats.activity(readerId, { ...query, bucket });
      const found = sums.filter((sum) => sum.plays > 0);
      expect(
        Object.fromEntries(found.map((sum) => [sum.bucket, [sum.plays, sum.msPlayed]])),
        bucket,
      ).to.deep.equal(Object.fromEntries(sumsBy(plays, (play) => bucketOf(play.playedAt, bucket, tz))));
      const names = sums.map((sum) => sum.bucket);
      expect(new Set(names).size, bucket).to.equal(names.length);
      const times = names.map((name) => Date.parse(name));
      if (bucket !== "hour") expect(times, bucket).to.deep.equal([...times].sort((a, b) => a - b));
    }
  }

  for (const [index, zone] of ZONES.entries()) {
    it(`are the same around each change of clocks, counted or from sums, while plays change: ${zone}`, async () => {
      const points = turningPoints(zone);
      expect(points.length).to.be.above(4);
      const seed = 1700 + index;
      const [first, more] = [PLAYS, PLAYS / 4].map((count, n) =>
        fc.sample(playArbitrary(points), { seed: seed + 50 * n, numRuns: count }),
      ) as [ReckonedPlay[], ReckonedPlay[]];
      const userId = await insertUser(pool, "public");
      const readerId = await insertUser(pool);
      await pool.query("update users set time_zone = $2 where id = $1", [userId, zone]);
      let plays = await insert(userId, first);

      const year = 2010 + (index % 3);
      const yearRange = { from: dayNumber(year, 1, 1), until: dayNumber(year + 1, 1, 1) };
      const [fromPoint = 0, untilPoint = 0] = [points[1], points.at(-2)];
      const odd = { from: new Date(fromPoint + 1_234_000), until: new Date(untilPoint + 5_678_000) };
      const all = async (): Promise<void> => {
        const counted = plays.filter((play) => play.counted);
        const inYear = (play: ReckonedPlay) => localTime(play.playedAt, zone).date.startsWith(String(year));
        const inOdd = ({ playedAt }: ReckonedPlay) =>
          new Date(playedAt) >= odd.from && new Date(playedAt) < odd.until;
        await sameAsPlain(userId, userId, counted, {}, zone);
        await sameAsPlain(userId, userId, counted.filter(inYear), yearRange, zone);
        await sameAsPlain(userId, userId, counted, {}, "Asia/Kathmandu");
        const shown = counted.filter((play) => !play.private);
        await sameAsPlain(readerId, userId, shown, {}, zone);
        expect(await stats.summary(userId, { ...odd })).to.deep.equal(summaryOf(counted.filter(inOdd)));
        await sameTop(userId, userId, "artist", counted.filter(inOdd), odd, zone);
      };
      const rollup = (more: Partial<Omit<StatsSelection, "short">> = {}) =>
        findRollup(pool, { userId, hidePrivate: false, ...more });

      expect(await rollup()).to.equal(null);
      await all();
      const built = await refreshUser(pool, userId);
      expect(built?.years).to.have.length.above(3);
      expect(await rollup()).to.deep.include({ whole: true, timeZone: zone });
      await all();

      // In one year plays go, change and come; what was made before is not read any more.
      const local = (play: Stored): number => Number(localTime(play.playedAt, zone).date.slice(0, 4));
      const touched = plays.filter((play) => local(play) === year).slice(0, 12);
      const [gone, moved] = [touched.slice(0, 6), touched.slice(6)];
      const goneIds = new Set(gone.map(({ id }) => id));
      const movedIds = new Set(moved.map(({ id }) => id));
      await pool.query("delete from listening_history where id = any ($1)", [[...goneIds]]);
      await pool.query("update listening_history set ms_played = 77 where id = any ($1)", [[...movedIds]]);
      plays = plays
        .filter(({ id }) => !goneIds.has(id))
        .map((play) => (movedIds.has(play.id) ? { ...play, msPlayed: 77 } : play));
      await announceChange(pool, historyOf(userId));
      expect(await rollup()).to.equal(null);
      expect((await refreshUser(pool, userId))?.years).to.deep.equal(touched.length > 0 ? [year] : []);
      await all();

      plays.push(...(await insert(userId, more)));
      await all();
      await refreshUser(pool, userId);
      await all();
      expect(await checkUser(pool, userId, false)).to.deep.equal({ fresh: true, differing: [] });
    });
  }
});

interface Named {
  readonly id: number;
  readonly name: string;
}
interface Titled {
  readonly id: number;
  readonly title: string;
  readonly artist: Named;
}
