/**
 * Making the sums in stats_years. All of it belongs in one transaction that sees one state of the database
 * (services/stats/rebuild.ts); `client` is in it.
 */
import type { ClientBase } from "pg";
import type pg from "pg";
import { NOT_INCOGNITO } from "./listenFilters.js";
import { type Grain, KEYS, type TopKind } from "./stats.js";
import { ALL_TIME } from "./statsRollups.js";

type Client = Pick<ClientBase, "query">;

export interface BuildState {
  /** As it is now. */
  readonly timeZone: string;
  readonly historyVersion: number;
  /** As it was when the sums were made; null where there are none. */
  readonly built: { readonly timeZone: string; readonly fresh: boolean } | null;
}

/** Null when there is no such account. */
export async function buildState(client: Client, userId: string): Promise<BuildState | null> {
  const { rows } = await client.query<{
    time_zone: string;
    version: number;
    built_zone: string | null;
    built_version: number | null;
    moved: boolean;
  }>(
    `select u.time_zone, s.time_zone as built_zone, s.history_version as built_version,
            coalesce((select version from cache_versions where topic = 'history' and owner = u.id), 0) as version,
            exists (select from stats_moves where user_id = u.id) as moved
       from users u left join stats_users s on s.user_id = u.id
      where u.id = $1`,
    [userId],
  );
  const [row] = rows;
  if (row === undefined) return null;
  const built =
    row.built_zone === null
      ? null
      : { timeZone: row.built_zone, fresh: row.built_version === row.version && !row.moved };
  return { timeZone: row.time_zone, historyVersion: row.version, built };
}

/** Plays that count, of the user $1. */
const COUNTED = "h.user_id = $1 and h.counted and h.duplicate_of is null";

/** Of the first and the last play, cut to milliseconds; null when there is none. */
export async function playedBetween(
  client: Client,
  userId: string,
): Promise<{ readonly first: Date; readonly last: Date } | null> {
  const { rows } = await client.query<{ first: Date | null; last: Date | null }>(
    `select min(h.played_at) as first, max(h.played_at) as last from listening_history h where ${COUNTED}`,
    [userId],
  );
  const { first = null, last = null } = rows[0] ?? {};
  return first === null || last === null ? null : { first, last };
}

/** Whole numbers up to 2^53 are exact in JSON and here. */
const FINGERPRINT_BITS = "9007199254740991";

/**
 * One number for each year that has plays, of everything the sums are made of.
 * @param starts of consecutive years, the first not later than the first play
 */
export async function fingerprints(
  client: Client,
  userId: string,
  starts: readonly Date[],
): Promise<ReadonlyMap<number, number>> {
  const { rows } = await client.query<{ n: number; fingerprint: number }>(
    `select width_bucket(h.played_at, $2::timestamptz[]) as n,
            bit_xor(hash_record_extended(row(h.id, h.track_id, h.artist_id, h.album_id, h.played_at, h.ms_played,
              ${NOT_INCOGNITO}), 0)) & ${FINGERPRINT_BITS} as fingerprint
       from listening_history h where ${COUNTED} group by 1`,
    [userId, starts.map((start) => start.toISOString())],
  );
  return new Map(rows.map(({ n, fingerprint }) => [n - 1, fingerprint]));
}

/** Of the years that were built. */
export async function builtFingerprints(
  client: Client,
  userId: string,
): Promise<ReadonlyMap<number, number>> {
  const { rows } = await client.query<{ year: number; fingerprint: number }>(
    `select year, fingerprint from stats_years where user_id = $1 and year <> ${ALL_TIME}`,
    [userId],
  );
  return new Map(rows.map(({ year, fingerprint }) => [year, fingerprint]));
}

export async function deleteYears(client: Client, userId: string, years: readonly number[]): Promise<void> {
  await client.query("delete from stats_years where user_id = $1 and year = any ($2::smallint[])", [
    userId,
    years,
  ]);
}

const COLUMNS = `user_id, year, fingerprint, first_at, last_at, plays, ms_played, private,
  artist_ids, artist_plays, artist_ms, album_ids, album_plays, album_ms, track_ids, track_plays, track_ms,
  days, day_plays, day_ms, hours, hour_plays, hour_ms`;

/** Three lists of the rows (key, plays, ms) of `sums`. */
const lists = (sums: string, order: string): string => `
  (select coalesce(array_agg(x.key order by ${order}), '{}') as keys,
          coalesce(array_agg(x.plays order by ${order}), '{}') as plays,
          coalesce(array_agg(x.ms order by ${order}), '{}') as ms
     from (${sums}) x (key, plays, ms))`;

const BY_RANK = "x.plays desc, x.key";

export interface YearToBuild {
  readonly year: number;
  readonly fingerprint: number;
  readonly from: Date;
  readonly until: Date;
}

/** The year has plays, and no row yet. */
export async function buildYear(
  client: Client,
  userId: string,
  timeZone: string,
  { year, fingerprint, from, until }: YearToBuild,
): Promise<void> {
  const sums = (key: string): string =>
    `select ${key}, count(*)::integer, sum(h.ms)::bigint from plays h where ${key} is not null group by 1`;
  const ranked = (kind: TopKind): string => lists(sums(`h.${kind}_id`), BY_RANK);
  const timed = (grain: Grain): string => lists(sums(KEYS[grain]("$6")), "x.key");
  await client.query(
    `with plays as materialized (
       select h.artist_id, h.album_id, h.track_id, coalesce(h.ms_played, 0) as ms, h.played_at,
              not ${NOT_INCOGNITO} as private
         from listening_history h where ${COUNTED} and h.played_at >= $4 and h.played_at < $5
     )
     insert into stats_years (${COLUMNS})
     select $1::uuid, $2::smallint, $3::bigint, p.*, artists.*, albums.*, tracks.*, days.*, hours.*
       from (select min(played_at), max(played_at), count(*)::integer, sum(ms)::bigint,
                    count(*) filter (where private)::integer from plays) p,
            ${ranked("artist")} artists, ${ranked("album")} albums, ${ranked("track")} tracks,
            ${timed("day")} days, ${timed("hour")} hours`,
    [userId, year, fingerprint, from.toISOString(), until.toISOString(), timeZone],
  );
}

/** From the rows of all years; there is at least one. */
export async function buildAllTime(client: Client, userId: string): Promise<void> {
  const ranked = (kind: TopKind): string =>
    lists(
      `select l.id, sum(l.plays)::integer, sum(l.ms)::bigint
         from stats_years y cross join lateral unnest(y.${kind}_ids, y.${kind}_plays, y.${kind}_ms) as l (id, plays, ms)
        where y.user_id = $1 and y.year <> ${ALL_TIME} group by 1`,
      BY_RANK,
    );
  await client.query(
    `insert into stats_years (${COLUMNS})
     select $1::uuid, ${ALL_TIME}, 0, p.*, artists.*, albums.*, tracks.*, '{}', '{}', '{}', '{}', '{}', '{}'
       from (select min(first_at), max(last_at), sum(plays)::integer, sum(ms_played)::bigint, sum(private)::integer
               from stats_years where user_id = $1 and year <> ${ALL_TIME}) p,
            ${ranked("artist")} artists, ${ranked("album")} albums, ${ranked("track")} tracks`,
    [userId],
  );
}

/** Says what the sums were made from, and takes away the notes about moved plays that this transaction sees. */
export async function labelBuild(
  client: Client,
  userId: string,
  { timeZone, historyVersion }: Pick<BuildState, "timeZone" | "historyVersion">,
): Promise<void> {
  await client.query(
    `insert into stats_users as s (user_id, history_version, time_zone, build, built_at, build_ms)
     values ($1, $2, $3, 1, clock_timestamp(), ceil(extract(epoch from clock_timestamp() - now()) * 1000))
     on conflict (user_id) do update set history_version = excluded.history_version, time_zone = excluded.time_zone,
       build = s.build + 1, built_at = excluded.built_at, build_ms = excluded.build_ms`,
    [userId, historyVersion, timeZone],
  );
  await client.query("delete from stats_moves where user_id = $1", [userId]);
}

/** A digest of each row, by year; the label is not in it. */
export async function digests(client: Client, userId: string): Promise<ReadonlyMap<number, string>> {
  const { rows } = await client.query<{ year: number; digest: string }>(
    "select year, md5(y::text) as digest from stats_years y where user_id = $1",
    [userId],
  );
  return new Map(rows.map(({ year, digest }) => [year, digest]));
}

export interface Due {
  /** A history is left to come to rest for so long, in milliseconds ... */
  readonly quietMs: number;
  /**
   * ... but sums are not left to get older than this; while an import runs, whose next batch would make them wrong, a history
   * has to rest for as long as this.
   */
  readonly movingMs: number;
  /** Making sums may take one part in so many of the time. */
  readonly share: number;
  readonly limit: number;
}

/** Accounts whose sums are not those of their plays, or of their time zone; the longest neglected first. */
export async function usersDue(
  pool: pg.Pool,
  { quietMs, movingMs, share, limit }: Due,
): Promise<readonly string[]> {
  const { rows } = await pool.query<{ id: string }>(
    `select u.id
       from users u
       left join cache_versions v on v.topic = 'history' and v.owner = u.id
       left join stats_users s on s.user_id = u.id
      cross join lateral (
        select exists (select from import_jobs j where j.user_id = u.id and j.status = 'running') as runs
      ) i
      where u.disabled_at is null
        and (s.history_version is distinct from coalesce(v.version, 0) or s.time_zone <> u.time_zone
             or exists (select from stats_moves m where m.user_id = u.id))
        and (v.version is null
             or v.version / 1000 < extract(epoch from clock_timestamp()) * 1000 - case when i.runs then $2::float8 else $1::float8 end
             or (not i.runs and coalesce(s.built_at, u.created_at) < clock_timestamp() - $2::float8 * interval '1 ms'))
        and (s.built_at is null or s.built_at < clock_timestamp() - $3::float8 * s.build_ms * interval '1 ms')
      order by s.built_at nulls first, u.id limit $4`,
    [quietMs, movingMs, share, limit],
  );
  return rows.map(({ id }) => id);
}

/** For a look at all of them. */
export async function statsAccounts(
  pool: pg.Pool,
): Promise<readonly { readonly id: string; readonly username: string }[]> {
  const { rows } = await pool.query<{ id: string; username: string }>(
    "select id, username from users where disabled_at is null order by username",
  );
  return rows;
}
