/**
 * `npm run bench -- stats [plays] [rounds] [names]`, `names` a pattern of the statistics to measure
 *
 * Statistics of one listener with a long history, in a table that has eight more like it: what the service answers, with
 * everything it does for that, against the GROUP BY that one would write by hand. Both in turns in each round, medians and
 * their ratios. All of time and a calendar year are read from sums made before, other ranges are counted.
 */
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { primaryReads } from "../db/replica.js";
import { refreshUser } from "../services/stats/rebuild.js";
import { StatsService } from "../services/stats/StatsService.js";
import { dayNumber } from "../utils/timeZones.js";
import { createTestDatabase } from "../test/support/database.js";
import { insertUser } from "../test/support/users.js";
import { playRows } from "./support/playRows.js";
import { median } from "./support/statistics.js";

const ZONE = "Europe/Amsterdam";
const OTHERS = 8;
const LIMIT = 50;
const JOB_ID = "018f0000-0000-7000-8000-000000000002";
const WARM_UP = 8;
const GOALS = { sums: 0.2, counted: 1.1 };

interface Range {
  readonly name: string;
  readonly goal: keyof typeof GOALS;
  readonly from?: string;
  readonly until?: string;
}

/** The generated listener plays from 2016 to 2023. */
const RANGES: readonly Range[] = [
  { name: "all time", goal: "sums" },
  { name: "a year", goal: "sums", from: "2019-12-31T23:00:00Z", until: "2020-12-31T23:00:00Z" },
  { name: "90 days", goal: "counted", from: "2020-02-10T09:00:00Z", until: "2020-05-10T09:00:00Z" },
  { name: "18 months", goal: "counted", from: "2019-05-05T00:00:00Z", until: "2020-11-05T00:00:00Z" },
  { name: "5 years", goal: "counted", from: "2017-03-03T00:00:00Z", until: "2022-03-03T00:00:00Z" },
];

type Measure = "summary" | "artists" | "tracks" | "albums" | "months" | "days" | "hours";
const MEASURES: readonly Measure[] = ["summary", "artists", "tracks", "albums", "months", "days", "hours"];
/** The service refuses as many buckets. */
const REFUSED = new Set(["hours of all time", "hours of 18 months", "hours of 5 years"]);

/** Runs the benchmark against the server named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const plays = Number(args[0] ?? 250_000);
  const rounds = Number(args[1] ?? 7);
  const names = new RegExp(args[2] ?? "");
  const db = await createTestDatabase();
  try {
    const { pool } = db.database;
    const userId = await fill(pool, plays);
    const stats = new StatsService({ pool, reads: primaryReads(pool) });
    console.log(
      `${plays} plays of one listener among ${plays * (1 + OTHERS)}; ${rounds} rounds, medians in ms\n`,
    );
    await building(pool, userId);
    await compare(pool, stats, userId, { rounds, names });
  } finally {
    await db.drop();
  }
}

async function fill(pool: pg.Pool, plays: number): Promise<string> {
  const userId = await insertUser(pool);
  await pool.query("update users set time_zone = $2 where id = $1", [userId, ZONE]);
  const rows = playRows(plays, userId, JOB_ID);
  const client = await pool.connect();
  try {
    const copy = (target: string, pieces: readonly Buffer[]): Promise<void> =>
      pipeline(
        Readable.from(pieces, { objectMode: false, highWaterMark: 1 << 20 }),
        client.query(copyFrom(`copy ${target} from stdin`)),
      );
    await copy("artists (name, name_key)", rows.artists);
    await copy("albums (artist_id, title, title_key)", rows.albums);
    await copy("tracks (artist_id, title, title_key, loose_key)", rows.tracks);
    await client.query("analyze artists, albums, tracks");
    // The rows are right; checking each of millions would take longer than the benchmark.
    await client.query("set session_replication_role = replica");
    await copy(`listening_history (${rows.columns.join(", ")})`, rows.plays);
    const columns = rows.columns.filter((column) => column !== "user_id").join(", ");
    for (let other = 0; other < OTHERS; other += 1) {
      const otherId = await insertUser(pool);
      await client.query(
        `insert into listening_history (user_id, ${columns}) select $2, ${columns} from listening_history where user_id = $1`,
        [userId, otherId],
      );
    }
    await client.query("reset session_replication_role");
    await client.query("vacuum (analyze) listening_history");
  } finally {
    client.release(true);
  }
  return userId;
}

/** What it costs to make the sums, and what the note about moved plays adds to an update. */
async function building(pool: pg.Pool, userId: string): Promise<void> {
  const whole = await timed(() => refreshUser(pool, userId));
  const nothing = await timed(() => refreshUser(pool, userId));
  await pool.query(
    `update listening_history set ms_played = ms_played + 1 where id =
       (select id from listening_history where user_id = $1 and counted order by played_at desc limit 1)`,
    [userId],
  );
  const oneYear = await timed(() => refreshUser(pool, userId));
  const { rows } = await pool.query<{ bytes: number; years: number }>(
    "select sum(pg_column_size(y.*))::bigint as bytes, count(*) as years from stats_years y where user_id = $1",
    [userId],
  );
  console.log(
    `making all sums ${whole.toFixed(0)} ms, looking and finding them right ${nothing.toFixed(0)} ms, ` +
      `after a play in one year ${oneYear.toFixed(0)} ms; ${rows[0]?.years} rows, ${((rows[0]?.bytes ?? 0) / 1e6).toFixed(1)} MB`,
  );
  const update = async (trigger: "enable" | "disable"): Promise<number> => {
    await pool.query(`alter table listening_history ${trigger} trigger plays_moved`);
    return timed(() =>
      pool.query(
        `update listening_history set updated_at = now() where id in
           (select id from listening_history where user_id = $1 order by played_at limit 10000)`,
        [userId],
      ),
    );
  };
  const [noted, plain]: [number[], number[]] = [[], []];
  for (let round = 0; round < 5; round += 1) {
    plain.push(await update("disable"));
    noted.push(await update("enable"));
  }
  console.log(
    `updating 10,000 plays ${median(noted).toFixed(0)} ms, without the trigger ${median(plain).toFixed(0)} ms\n`,
  );
  await pool.query("vacuum listening_history");
}

async function compare(
  pool: pg.Pool,
  stats: StatsService,
  userId: string,
  { rounds, names }: { readonly rounds: number; readonly names: RegExp },
): Promise<void> {
  console.log(
    "| statistic | by hand | service | ratio (least-most) | goal | |\n| --- | ---: | ---: | --- | ---: | --- |",
  );
  for (const range of RANGES) {
    for (const measure of MEASURES) {
      const name = `${measure} of ${range.name}`;
      if (REFUSED.has(name) || !names.test(name)) continue;
      const hand = (): Promise<unknown> => byHand(pool, userId, measure, range);
      const service = (): Promise<unknown> => byService(stats, userId, measure, range);
      // As a process that has run for a while: statements planned, code compiled.
      for (let time = 0; time < WARM_UP; time += 1) {
        if (time < 2) await hand();
        await service();
      }
      const [direct, ours, ratios]: [number[], number[], number[]] = [[], [], []];
      for (let round = 0; round < rounds; round += 1) {
        const first = round % 2 === 0 ? await timed(hand) : await timed(service);
        const second = round % 2 === 0 ? await timed(service) : await timed(hand);
        const [a, b] = round % 2 === 0 ? [first, second] : [second, first];
        direct.push(a);
        ours.push(b);
        ratios.push(b / a);
      }
      const goal = GOALS[range.goal];
      const ratio = median(ratios);
      console.log(
        `| ${name} | ${median(direct).toFixed(1)} | ${median(ours).toFixed(1)} | **${ratio.toFixed(2)}** ` +
          `(${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)}) | ${goal} | ${ratio <= goal ? "" : "MISSED"} |`,
      );
    }
  }
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

function byService(stats: StatsService, userId: string, measure: Measure, range: Range): Promise<unknown> {
  const calendarYear = range.name === "a year";
  const query = calendarYear
    ? { from: dayNumber(2020, 1, 1), until: dayNumber(2021, 1, 1) }
    : {
        ...(range.from === undefined ? {} : { from: new Date(range.from) }),
        ...(range.until === undefined ? {} : { until: new Date(range.until) }),
      };
  switch (measure) {
    case "summary":
      return stats.summary(userId, query);
    case "artists":
      return stats.top(userId, "artist", { ...query, limit: LIMIT });
    case "albums":
      return stats.top(userId, "album", { ...query, limit: LIMIT });
    case "tracks":
      return stats.top(userId, "track", { ...query, limit: LIMIT });
    case "months":
      return stats.activity(userId, { ...query, bucket: "month" });
    case "days":
      return stats.activity(userId, { ...query, bucket: "day" });
    case "hours":
      return stats.activity(userId, { ...query, bucket: "hour" });
  }
}

function byHand(pool: pg.Pool, userId: string, measure: Measure, { from, until }: Range): Promise<unknown> {
  const values: unknown[] = [userId];
  const bound = (comparison: string, value: string | undefined): string =>
    value === undefined ? "" : ` and played_at ${comparison} $${values.push(value)}`;
  const plays = `from listening_history where user_id = $1 and counted and duplicate_of is null${bound(">=", from)}${bound("<", until)}`;
  const top = (key: string, table: string, name: string): string =>
    `select e.id, e.${name}, t.plays, t.ms
       from (select ${key}, count(*) as plays, sum(ms_played) as ms ${plays} and ${key} is not null
              group by ${key} order by plays desc, ${key} limit ${LIMIT}) t
       join ${table} e on e.id = t.${key} order by t.plays desc, e.id`;
  const activity = (unit: string): string =>
    `select date_trunc('${unit}', played_at at time zone '${ZONE}') as bucket, count(*) as plays, sum(ms_played) as ms
       ${plays} group by 1 order by 1`;
  const statements: Readonly<Record<Measure, () => string>> = {
    summary: () => `select count(*), sum(ms_played), count(distinct artist_id), count(distinct album_id),
      count(distinct track_id), min(played_at), max(played_at) ${plays}`,
    artists: () => top("artist_id", "artists", "name"),
    albums: () => top("album_id", "albums", "title"),
    tracks: () => top("track_id", "tracks", "title"),
    months: () => activity("month"),
    days: () => activity("day"),
    hours: () => activity("hour"),
  };
  return pool.query(statements[measure](), values);
}
