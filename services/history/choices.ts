/** Ids of tracks and albums that callers choose for a play: what they stand for, and what is wrong with them. */
import type { ClientBase } from "pg";
import type { ErrorDetail } from "../../utils/errors.js";
import { addAlbumTracks } from "../catalog/findOrCreate.js";

type Client = Pick<ClientBase, "query">;

export interface ChosenTrack {
  readonly trackId: number;
  readonly artistId: number;
  /** Names as the catalogue has them. */
  readonly artist: string;
  readonly title: string;
}

/** By the id that was asked for, which may have been merged into another since. Ids of nothing are not in the result. */
export async function tracksById(client: Client, ids: readonly number[]): Promise<Map<number, ChosenTrack>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<{
    asked: number;
    id: number;
    artist_id: number;
    artist: string;
    title: string;
  }>(
    `select w.id as asked, t.id, t.artist_id, a.name as artist, t.title
       from unnest($1::bigint[]) as w (id)
       left join catalogue_merges m on m.entity = 'track' and m.old_id = w.id
       join tracks t on t.id = coalesce(m.into_id, w.id)
       join artists a on a.id = t.artist_id`,
    [[...new Set(ids)]],
  );
  return new Map(
    rows.map(({ asked, id, artist_id, artist, title }) => [
      asked,
      { trackId: id, artistId: artist_id, artist, title },
    ]),
  );
}

export interface AlbumChoice {
  /** Where in the input it stands; see ManualPlay. */
  readonly path: string;
  readonly albumId: number;
  readonly trackId: number;
  readonly artistId: number;
}

export type ChosenAlbum = { readonly albumId: number } | { readonly problem: ErrorDetail };

/**
 * Notes that these tracks are on these albums; the album each choice stands for or what is wrong with it, in order. A
 * play goes on an album that lists its track, or on another one of the same artist: nobody adds to the albums of others
 * by playing.
 */
export async function placeOnAlbums(client: Client, choices: readonly AlbumChoice[]): Promise<ChosenAlbum[]> {
  const { rows } = await client.query<{ id: number | null; fits: boolean }>(
    `select b.id,
            coalesce(b.artist_id = w.artist_id, false) or exists (
              select from album_tracks p where p.album_id = b.id and p.track_id = w.track_id
            ) as fits
       from unnest($1::bigint[], $2::bigint[], $3::bigint[]) with ordinality as w (album_id, track_id, artist_id, n)
       left join catalogue_merges m on m.entity = 'album' and m.old_id = w.album_id
       left join albums b on b.id = coalesce(m.into_id, w.album_id)
      order by w.n`,
    [
      choices.map(({ albumId }) => albumId),
      choices.map(({ trackId }) => trackId),
      choices.map(({ artistId }) => artistId),
    ],
  );
  const chosen = choices.map(({ path }, index): ChosenAlbum => {
    const { id, fits } = rows[index]!;
    if (id === null) return { problem: unknownId(`${path}albumId`, "album") };
    if (fits) return { albumId: id };
    const message = `${path}albumId is an album of another artist that does not list this track`;
    return { problem: { path: `${path}albumId`, code: "not_of_track", message } };
  });
  await addAlbumTracks(
    client,
    chosen.flatMap((each, index) =>
      "problem" in each ? [] : [{ albumId: each.albumId, trackId: choices[index]!.trackId }],
    ),
  );
  return chosen;
}

export const unknownId = (path: string, what: string): ErrorDetail => ({
  path,
  code: "not_found",
  message: `${path} names no ${what}`,
});
