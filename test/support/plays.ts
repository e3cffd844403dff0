/** Plays put straight into the tables, for tests of what reads them. */
import { randomBytes } from "node:crypto";
import type pg from "pg";
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
  return rows.map(({ id }) => id);
}

/**
 * A long history that is the same each time: one play every `stepSeconds`, over `artists` names with a few
 * tracks each; low numbers come often, high ones rarely.
 */
export function longHistory(
  plays: number,
  { start = "2015-01-01T00:00:00Z", stepSeconds = 600, artists = 400 } = {},
): PlaySpec[] {
  const first = Date.parse(start);
  return Array.from({ length: plays }, (_, index) => {
    const spread = (index * 7919) % 10_007; // a permutation of sorts: neighbours differ
    const artist = Math.floor(artists * (spread / 10_007) ** 3);
    return {
      playedAt: new Date(first + index * stepSeconds * 1000).toISOString(),
      artist: `Artist ${artist}`,
      track: `Track ${spread % 12}`,
      album: `Album ${spread % 3}`,
      counted: index % 7 !== 0,
      source: index % 50 === 0 ? "spotify-account" : "spotify-extended",
    };
  });
}
