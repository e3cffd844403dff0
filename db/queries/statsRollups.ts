/**
 * Statistics from the sums that were made before (stats_years), for ranges whose plays are exactly those of whole years of
 * the user's. Each statement looks anew whether the sums are still those of the history as it is; null says that they are
 * not, and that the plays have to be counted. See docs/adr/0017.
 */
import type pg from "pg";
import { numbersOf } from "../lists.js";
import {
  type Activity,
  type ActivityRow,
  activityOf,
  afterValues,
  behind,
  type Grain,
  isoText,
  type RankRow,
  type StatsSelection,
  type Summary,
  topPageOf,
  topPageSql,
  type TopPage,
  type TopRequest,
} from "./stats.js";

/** The row of all years together. */
export const ALL_TIME = 0;

/** Years whose plays together are all the plays of a range. */
export interface Rollup {
  /** Names the state of the sums; later statements read this one or none. */
  readonly build: number;
  /** IANA name; the years are this zone's, and so are days and hours. */
  readonly timeZone: string;
  readonly years: readonly number[];
  /** Whether there are no plays in other years. */
  readonly whole: boolean;
}

/** True of a row `s` of stats_users, the user being $1, when its sums are those of the plays as this statement sees them. */
const FRESH = `
  s.history_version = coalesce((select version from cache_versions where topic = 'history' and owner = $1), 0)
  and not exists (select from stats_moves where user_id = $1)`;

/** Null when there are none that are fresh, or when the range has only some of the plays of a year. */
export async function findRollup(
  pool: pg.Pool,
  selection: Omit<StatsSelection, "short">,
): Promise<Rollup | null> {
  const { userId, from, until, hidePrivate } = selection;
  const { rows } = await pool.query<{
    build: number;
    time_zone: string;
    years: string | null;
    total: number;
    partly: boolean;
  }>({
    name: "stats-rollup",
    text: `
      select s.build, s.time_zone, count(y.year) as total,
             string_agg(y.year::text, ',' order by y.year) filter (where y.inside) as years,
             coalesce(bool_or(not y.outside and (not y.inside or $4::boolean and y.private > 0)), false) as partly
        from stats_users s
        left join lateral (
          select year, private,
                 first_at >= coalesce($2::timestamptz, '-infinity') and last_at < coalesce($3::timestamptz, 'infinity') as inside,
                 first_at >= coalesce($3::timestamptz, 'infinity') or last_at < coalesce($2::timestamptz, '-infinity') as outside
            from stats_years where user_id = s.user_id and year <> ${ALL_TIME}
        ) y on true
       where s.user_id = $1 and ${FRESH}
       group by s.build, s.time_zone`,
    values: [userId, from?.toISOString() ?? null, until?.toISOString() ?? null, hidePrivate],
  });
  const [row] = rows;
  if (row === undefined || row.partly) return null;
  const years = numbersOf(row.years);
  return { build: row.build, timeZone: row.time_zone, years, whole: years.length === row.total };
}

/** Rows `y` of the years that are asked for, of the user $1 and the build $2. */
const YEARS = `stats_users s join stats_years y on y.user_id = s.user_id where s.user_id = $1 and s.build = $2 and ${FRESH}`;

export async function rollupSummary(
  pool: pg.Pool,
  userId: string,
  build: number,
  year: number,
): Promise<Summary | null> {
  const { rows } = await pool.query<Summary>({
    name: "stats-rollup-summary",
    text: `
      select y.plays, y.ms_played as "msPlayed", cardinality(y.artist_ids) as artists,
             cardinality(y.album_ids) as albums, cardinality(y.track_ids) as tracks,
             ${isoText("y.first_at")} as "firstAt", ${isoText("y.last_at")} as "lastAt"
        from ${YEARS} and y.year = $3`,
    values: [userId, build, year],
  });
  return rows[0] ?? null;
}

/** The lists are in the order of the ranking, so a first page is a piece from their start. */
export async function rollupTop(
  pool: pg.Pool,
  userId: string,
  build: number,
  year: number,
  request: TopRequest,
): Promise<TopPage | null> {
  const { kind, limit, after } = request;
  const lists = ["ids", "plays", "ms"].map((list) => `y.${kind}_${list}`);
  const ranked =
    after === undefined
      ? `select * from unnest(${lists.map((list) => `${list}[1:$4::integer + 1]`).join(", ")}) as l (id, plays, ms)`
      : `select l.id, l.plays, l.ms from unnest(${lists.join(", ")}) with ordinality as l (id, plays, ms, n)
          where ${behind("l.plays", "l.id", "$5", "$6")} order by l.n limit $4::integer + 1`;
  const found = await pool.query<RankRow>({
    name: `stats-rollup-top-${kind}s${after === undefined ? "" : "-after"}`,
    text: `
      select page.* from (select y.* from ${YEARS} and y.year = $3) y
       cross join lateral (${topPageSql(ranked, kind, "$4::integer")}) page`,
    values: [userId, build, year, limit, ...(after === undefined ? [] : afterValues(request))],
  });
  return found.rows.length === 0 ? null : topPageOf(found.rows[0], request);
}

/** @param years not none, and not ALL_TIME */
export async function rollupActivity(
  pool: pg.Pool,
  userId: string,
  build: number,
  years: readonly number[],
  grain: Grain,
): Promise<Activity | null> {
  const { rows } = await pool.query<ActivityRow>({
    name: `stats-rollup-${grain}s`,
    text: `
      select array_to_string(y.${grain}s, ',') as keys, array_to_string(y.${grain}_plays, ',') as plays,
             array_to_string(y.${grain}_ms, ',') as ms
        from ${YEARS} and y.year = any ($3::smallint[]) order by y.year`,
    values: [userId, build, years],
  });
  return rows.length === 0 ? null : activityOf(rows);
}
