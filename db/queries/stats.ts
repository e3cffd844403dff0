/**
 * Statistics counted from the plays themselves, whatever the range: one statement each. They look the same as those read
 * from sums that were made before (statsRollups.ts).
 */
import type pg from "pg";
import { NOT_INCOGNITO } from "./listenFilters.js";

/** The plays that a statistic is about: all that count of one user, `from <= played_at < until`. */
export interface StatsSelection {
  readonly userId: string;
  readonly from?: Date;
  readonly until?: Date;
  /**
   * Whether both ends are given and near each other. The plays of such a range are always best found in the index of
   * the user's plays by time, so its statements are kept planned; others are planned each time for what they are about.
   */
  readonly short: boolean;
  /** For readers other than the owner: without plays of private sessions. */
  readonly hidePrivate: boolean;
}

export interface Summary {
  readonly plays: number;
  /** Milliseconds, of the plays whose source tells them. */
  readonly msPlayed: number;
  readonly artists: number;
  readonly albums: number;
  readonly tracks: number;
  /** Start of the first and of the last play, ISO 8601 in UTC with milliseconds. */
  readonly firstAt: string | null;
  readonly lastAt: string | null;
}

export const NO_PLAYS: Summary = {
  plays: 0,
  msPlayed: 0,
  artists: 0,
  albums: 0,
  tracks: 0,
  firstAt: null,
  lastAt: null,
};

export type TopKind = "artist" | "album" | "track";

/** Where a page of a ranking ended: most plays first, then the lowest id. */
export interface RankPosition {
  readonly plays: number;
  readonly id: number;
}

export interface TopRequest {
  readonly kind: TopKind;
  readonly limit: number;
  readonly after?: RankPosition;
}

export interface TopPage {
  /** JSON objects, joined by commas. */
  readonly items: string;
  /** Null when nothing follows. */
  readonly next: RankPosition | null;
}

/** `day`: keys are days since 1970-01-01. `hour`: minutes from 1970-01-01 UTC to the start of the local hour. */
export type Grain = "day" | "hour";

/** Sums of days or hours that have plays, as lists of the same length; keys rise. */
export interface Activity {
  readonly keys: readonly number[];
  readonly plays: readonly number[];
  readonly ms: readonly number[];
}

export const isoText = (column: string): string =>
  `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** The plays as rows `h`; $1 to $3 are values of `selectionValues`. */
const playsOf = ({ short, hidePrivate }: StatsSelection): string => {
  const [from, until] = short
    ? ["$2::timestamptz", "$3::timestamptz"]
    : ["coalesce($2::timestamptz, '-infinity')", "coalesce($3::timestamptz, 'infinity')"];
  return `
  from listening_history h
  where h.user_id = $1 and h.counted and h.duplicate_of is null
    and h.played_at >= ${from} and h.played_at < ${until}
    ${hidePrivate ? `and ${NOT_INCOGNITO}` : ""}`;
};

/** Of a statement that is kept planned: one for each text. */
const nameFor = (what: string, { short, hidePrivate }: StatsSelection): { readonly name?: string } =>
  short ? { name: `stats-${what}${hidePrivate ? "-of-others" : ""}` } : {};

const selectionValues = ({ userId, from, until }: StatsSelection): unknown[] => [
  userId,
  from?.toISOString() ?? null,
  until?.toISOString() ?? null,
];

export async function countSummary(pool: pg.Pool, selection: StatsSelection): Promise<Summary> {
  const { rows } = await pool.query<Summary>({
    ...nameFor("summary", selection),
    text: `
      select count(*) as plays, coalesce(sum(h.ms_played), 0)::bigint as "msPlayed",
             count(distinct h.artist_id) as artists, count(distinct h.album_id) as albums,
             count(distinct h.track_id) as tracks,
             ${isoText("min(h.played_at)")} as "firstAt", ${isoText("max(h.played_at)")} as "lastAt"
      ${playsOf(selection)}`,
    values: selectionValues(selection),
  });
  return rows[0] ?? NO_PLAYS;
}

export async function countTop(
  pool: pg.Pool,
  selection: StatsSelection,
  request: TopRequest,
): Promise<TopPage> {
  const { kind, limit } = request;
  const column = `h.${kind}_id`;
  const ranked = `
    select ${column} as id, count(*) as plays, coalesce(sum(h.ms_played), 0)::bigint as ms
    ${playsOf(selection)} and ${column} is not null
    group by ${column}
    having ${behind("count(*)", column, "$5", "$6")}
    order by 2 desc, 1 limit $4::integer + 1`;
  const { rows } = await pool.query<RankRow>({
    ...nameFor(`top-${kind}s`, selection),
    text: topPageSql(ranked, kind, "$4::integer"),
    values: [...selectionValues(selection), limit, ...afterValues(request)],
  });
  return topPageOf(rows[0], request);
}

/** @param timeZone IANA name; throws SQLSTATE 22023 for one that the server does not know */
export async function countActivity(
  pool: pg.Pool,
  selection: StatsSelection,
  grain: Grain,
  timeZone: string,
): Promise<Activity> {
  const { rows } = await pool.query<ActivityRow>({
    ...nameFor(`activity-${grain}s`, selection),
    text: `
      select string_agg(b.key::text, ',') as keys, string_agg(b.plays::text, ',') as plays,
             string_agg(b.ms::text, ',') as ms
        from (select ${KEYS[grain]("$4")} as key, count(*) as plays, coalesce(sum(h.ms_played), 0)::bigint as ms
              ${playsOf(selection)} group by 1 order by 1) b`,
    values: [...selectionValues(selection), timeZone],
  });
  return activityOf(rows);
}

/**
 * Keys of activity, from a row `h` and the placeholder of a time zone. `date_trunc` keeps the offset where it cuts to the
 * hour, so the hour that summer time ends with is not the one before it, though clocks show the same.
 */
export const KEYS: Readonly<Record<Grain, (zone: string) => string>> = {
  day: (zone) => `(h.played_at at time zone ${zone}::text)::date - date '1970-01-01'`,
  hour: (zone) => `(date_part('epoch', date_trunc('hour', h.played_at, ${zone}::text)) / 60)::integer`,
};

export interface ActivityRow {
  readonly keys: string | null;
  readonly plays: string | null;
  readonly ms: string | null;
}

export function activityOf(rows: readonly ActivityRow[]): Activity {
  const lists = (of: (row: ActivityRow) => string | null): number[] => {
    const [first = [], ...more] = rows.map((row) => numbersIn(of(row)));
    return more.length === 0 ? first : first.concat(...more);
  };
  return { keys: lists(({ keys }) => keys), plays: lists(({ plays }) => plays), ms: lists(({ ms }) => ms) };
}

/** A list of numbers as PostgreSQL writes it is JSON: the hours of a year are 25,000 of them. */
const numbersIn = (list: string | null): number[] => JSON.parse(`[${list ?? ""}]`) as number[];

/** Whether a row of a ranking comes after a position whose values may be null. */
export const behind = (plays: string, id: string, afterPlays: string, afterId: string): string =>
  `(${afterPlays}::bigint is null or ${plays} < ${afterPlays}::bigint
    or ${plays} = ${afterPlays}::bigint and ${id} > ${afterId}::bigint)`;

export const afterValues = ({ after }: TopRequest): unknown[] => [after?.plays ?? null, after?.id ?? null];

const ARTIST = (id: string): string =>
  `(select row_to_json(a) from (select id, name from artists where id = ${id}) a)`;

/** What is ranked, as JSON; from an id. */
const ENTITIES: Readonly<Record<TopKind, string>> = {
  artist: ARTIST("e.id"),
  album: `(select row_to_json(b) from (
    select b.id, b.title, ${ARTIST("b.artist_id")} as artist from albums b where b.id = e.id) b)`,
  track: `(select row_to_json(t) from (
    select t.id, t.title, t.duration_ms as "durationMs", ${ARTIST("t.artist_id")} as artist
    from tracks t where t.id = e.id) t)`,
};

export interface RankRow {
  readonly items: string;
  readonly found: number;
  readonly last_plays: number | null;
  readonly last_id: number | null;
}

/**
 * One row of `RankRow`.
 * @param ranked gives `id`, `plays` and `ms` of one row more than `limit`, which says whether another page follows
 */
export const topPageSql = (ranked: string, kind: TopKind, limit: string): string => `
  select coalesce(string_agg(p.item, ',' order by p.n) filter (where p.n <= ${limit}), '') as items,
         count(*)::integer as found,
         max(p.plays) filter (where p.n = ${limit}) as last_plays,
         max(p.id) filter (where p.n = ${limit}) as last_id
    from (select row_number() over (order by e.plays desc, e.id) as n, e.id, e.plays,
                 (select row_to_json(i)::text from (
                   select ${ENTITIES[kind]} as ${kind}, e.plays, e.ms as "msPlayed") i) as item
            from (${ranked}) e) p`;

export function topPageOf(row: RankRow | undefined, { limit }: TopRequest): TopPage {
  if (row === undefined) return { items: "", next: null };
  const more = row.found > limit && row.last_plays !== null && row.last_id !== null;
  return { items: row.items, next: more ? { plays: row.last_plays, id: row.last_id } : null };
}
