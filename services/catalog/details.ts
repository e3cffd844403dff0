/** Parts of an album or a track that are rows of their own: places of tracks, and credits. */
import type { ClientBase } from "pg";
import type { AlbumFields, TrackFields } from "./fields.js";
import { currentIds } from "./references.js";

type Client = Pick<ClientBase, "query">;

/** Throws `ValidationError` for a track that is not there. */
export async function placeTracks(
  client: Client,
  albumId: number,
  places: AlbumFields["tracks"],
): Promise<void> {
  const ids = await currentIds(
    client,
    "track",
    places.map(({ id }) => id),
    (index) => `tracks.${index}.id`,
  );
  // The last one counts, should one be named twice: under its old and its new id, say.
  const byTrack = new Map(ids.map((id, index) => [id, places[index]!]));
  await client.query("update album_tracks set disc = null, position = null where album_id = $1", [albumId]);
  await client.query(
    `insert into album_tracks (album_id, track_id, disc, position)
     select $1::bigint, w.track_id, w.disc, w.position
       from unnest($2::bigint[], $3::smallint[], $4::smallint[]) as w (track_id, disc, position)
      order by w.track_id
     on conflict (album_id, track_id) do update set disc = excluded.disc, position = excluded.position`,
    [
      albumId,
      [...byTrack.keys()],
      [...byTrack.values()].map(({ disc }) => disc),
      [...byTrack.values()].map(({ position }) => position),
    ],
  );
}

/** Throws `ValidationError` for an artist that is not there. */
export async function creditArtists(
  client: Client,
  trackId: number,
  credits: TrackFields["artists"],
): Promise<void> {
  const ids = await currentIds(
    client,
    "artist",
    credits.map(({ id }) => id),
    (index) => `artists.${index}.id`,
  );
  await client.query("delete from track_artists where track_id = $1", [trackId]);
  await client.query(
    `insert into track_artists (track_id, artist_id, role, position)
     select $1::bigint, w.artist_id, w.role, w.n - 1
       from unnest($2::bigint[], $3::text[]) with ordinality as w (artist_id, role, n)
     on conflict (track_id, artist_id, role) do nothing`,
    [trackId, ids, credits.map(({ role }) => role)],
  );
}
