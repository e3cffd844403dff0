/** Plays put straight into the tables, for tests of what reads them. */
import { randomBytes, randomUUID } from "node:crypto";
import type pg from "pg";
import { announceChange, historyOf } from "../../db/queries/cacheVersions.js";
import { nameKey } from "../../services/catalog/keys.js";
import type { PlaySource } from "../../services/import/types.js";

export interface PlaySpec {
  /** ISO 8601, to the microsecond. */
  readonly playedAt: string;
  readonly artist?: string;
  readonly track?: string;
  readonly album?: string | null;
  readonly source?: PlaySource;
  readonly counted?: boolean;
  readonly msPlayed?: number | null;
  readonly importId?: string | null;
  readonly duplicateOf?: number | null;
  readonly context?: Readonly<Record<string, unknown>> | null;
}

/** Inserts the plays and what they need of the catalogue; gives their ids, in the order of `specs`. */
export async function insertPlays(
  pool: pg.Pool,
  userId: string,
  specs: readonly PlaySpec[],
): Promise<number[]> {
  const artists = specs.map(({ artist = "Some Artist" }) => artist);
  const tracks = specs.map(({ track = "Some Track" }) => track);
  const albums = specs.map(({ album = null }) => album);
  const keysOf = (names: readonly (string | null)[]) =>
    names.map((name) => (name === null ? null : nameKey(name)));
  const keys = { artists: keysOf(artists), tracks: keysOf(tracks), albums: keysOf(albums) };

  await pool.query(
    `insert into artists (name, name_key)
     select distinct on (key) name, key from unnest($1::text[], $2::text[]) as w (name, key)
     on conflict do nothing`,
    [artists, keys.artists],
  );
  await pool.query(
    `insert into tracks (artist_id, title, title_key, loose_key)
     select distinct on (a.id, w.key) a.id, w.title, w.key, a.name_key || ' ' || w.key
     from unnest($1::text[], $2::text[], $3::text[]) as w (artist_key, title, key)
     join artists a on a.name_key = w.artist_key
     on conflict do nothing`,
    [keys.artists, tracks, keys.tracks],
  );
  await pool.query(
    `insert into albums (artist_id, title, title_key)
     select distinct on (a.id, w.key) a.id, w.title, w.key
     from unnest($1::text[], $2::text[], $3::text[]) as w (artist_key, title, key)
     join artists a on a.name_key = w.artist_key
     where w.key is not null
     on conflict do nothing`,
    [keys.artists, albums, keys.albums],
  );
  const { rows } = await pool.query<{ id: number }>(
    `with wanted as (
       select w.*, a.id as artist_id, t.id as track_id, b.id as album_id
       from unnest($2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::play_source[], $7::boolean[],
                   $8::integer[], $9::uuid[], $10::bigint[], $11::jsonb[], $12::bytea[])
              with ordinality as w (played_at, artist_key, title_key, album_key, source, counted, ms_played,
                                    import_job_id, duplicate_of, context, source_key, n)
       join artists a on a.name_key = w.artist_key
       join tracks t on t.artist_id = a.id and t.title_key = w.title_key
       left join albums b on b.artist_id = a.id and b.title_key = w.album_key
     ), pairs as (
       insert into album_tracks (album_id, track_id)
       select distinct album_id, track_id from wanted where album_id is not null
       on conflict do nothing
     )
     insert into listening_history (user_id, track_id, artist_id, album_id, played_at, start_earliest,
       start_latest, ms_played, precision, source, counted, source_key, import_job_id, duplicate_of, context)
     select $1, track_id, artist_id, album_id, played_at, played_at, played_at, ms_played, 'second', source,
       counted, source_key, import_job_id, duplicate_of, context
     from wanted order by n
     returning id`,
    [
      userId,
      specs.map(({ playedAt }) => playedAt),
      keys.artists,
      keys.tracks,
      keys.albums,
      specs.map(({ source = "spotify-extended" }) => source),
      specs.map(({ counted = true }) => counted),
      specs.map(({ msPlayed = 180_000 }) => msPlayed),
      specs.map(({ importId = null }) => importId),
      specs.map(({ duplicateOf = null }) => duplicateOf),
      specs.map(({ context = null }) => (context === null ? null : JSON.stringify(context))),
      specs.map(() => randomBytes(16)),
    ],
  );
  await announceChange(pool, historyOf(userId));
  return rows.map(({ id }) => id);
}

export interface LongHistoryOptions {
  readonly start?: string;
  readonly importId?: string;
}

/**
 * A long history that is the same each time, made inside the database: one play every ten minutes, over 400
 * artists with 12 tracks and 3 albums each. `Artist 0` is a favourite, high numbers are rare. Every third play is
 * of the import, every seventh is not counted, every fiftieth is of family spotify-account.
 */
export async function insertLongHistory(
  pool: pg.Pool,
  userId: string,
  plays: number,
  { start = "2015-01-01T00:00:00Z", importId = randomUUID() }: LongHistoryOptions = {},
): Promise<void> {
  await pool.query(
    `insert into artists (name, name_key)
     select 'Artist ' || n, 'artist ' || n from generate_series(0, 399) n on conflict do nothing`,
  );
  await pool.query(
    `insert into tracks (artist_id, title, title_key, loose_key)
     select a.id, 'Track ' || n, 'track ' || n, a.name_key || ' ' || n
     from artists a cross join generate_series(0, 11) n where a.name_key ~ '^artist [0-9]+$' on conflict do nothing`,
  );
  await pool.query(
    `insert into albums (artist_id, title, title_key)
     select a.id, 'Album ' || n, 'album ' || n
     from artists a cross join generate_series(0, 2) n where a.name_key ~ '^artist [0-9]+$' on conflict do nothing`,
  );
  await pool.query(
    `insert into album_tracks (album_id, track_id)
     select b.id, t.id from albums b join tracks t using (artist_id)
     where right(b.title_key, 1)::integer = split_part(t.title_key, ' ', 2)::integer % 3
     on conflict do nothing`,
  );
  // Without figures of the catalogue the planner would join it in loops.
  await pool.query("analyze artists, tracks, albums");
  for (let from = 0; from < plays; from += ROWS_PER_STATEMENT) {
    await insertStretch(pool, userId, from, Math.min(from + ROWS_PER_STATEMENT, plays), start, importId);
  }
}

const ROWS_PER_STATEMENT = 10_000;

async function insertStretch(
  pool: pg.Pool,
  userId: string,
  from: number,
  until: number,
  start: string,
  importId: string,
): Promise<void> {
  await pool.query(
    `insert into listening_history (user_id, track_id, artist_id, album_id, played_at, start_earliest, start_latest,
       ms_played, precision, source, counted, source_key, import_job_id)
     select $1::uuid, t.id, a.id, b.id, at, at, at, 180000, 'second',
       case when n % 50 = 0 then 'spotify-account' else 'spotify-extended' end::play_source, n % 7 <> 0,
       int4send(extract(epoch from at)::integer) || substr(sha256(($1::uuid || ' ' || n)::bytea), 1, 12),
       case when n % 3 = 0 then $4::uuid end
     from (select n, (n::bigint * 7919) % 10007 as spread, $3::timestamptz + n * interval '10 minutes' as at
           from generate_series($5::integer, $2::integer - 1) n) s
     join artists a on a.name_key = 'artist ' || floor(400 * power(spread / 10007.0, 3))
     join tracks t on t.artist_id = a.id and t.title_key = 'track ' || spread % 12
     join albums b on b.artist_id = a.id and b.title_key = 'album ' || spread % 3
     order by n`,
    [userId, until, start, importId, from],
  );
}
