/**
 * Finds or creates many catalogue rows at once. Every statement works in the order of its keys, and callers go
 * artists, tracks, external ids, albums, album tracks: two imports that meet wait for each other, never in a ring.
 * Callers hold the lock on the catalogue, shared (lock.ts).
 *
 * A name that something had before it was renamed or merged finds it still. Aliases are asked only for what is not
 * found under its name, so what is known costs no more for them.
 *
 * All look-ups have the form `unnest(...) cross join lateral (... limit 1)`: one index probe per key, whatever the
 * planner believes about the number of keys.
 */
import type { ClientBase } from "pg";
import { newIds, numberArray, numbersOf, textArray } from "../../db/lists.js";
import type { NumberedTable } from "../../db/lists.js";

/** The artist that stands for "the source names none"; its tracks are told apart by album too. */
export const UNKNOWN_ARTIST_KEY = "[unknown]";

export interface ArtistWanted {
  readonly name: string;
  readonly key: string;
}

export interface TrackWanted {
  readonly artistId: number;
  readonly title: string;
  readonly titleKey: string;
  /** Empty, except under the artist `[unknown]`. */
  readonly albumKey: string;
  readonly looseKey: string;
  readonly durationMs: number | null;
}

export interface AlbumWanted {
  readonly artistId: number;
  readonly title: string;
  readonly titleKey: string;
}

export interface ExternalTrackId {
  readonly provider: string;
  readonly id: string;
}

export interface TrackRef {
  readonly trackId: number;
  readonly artistId: number;
}

type Client = Pick<ClientBase, "query">;
/** Ids, and which of the wanted rows have them, as lists; of tracks their artists, too. */
type Found = { ords: string | null; ids: string | null; artists?: string | null };

/** Ids of artists by key; the display name is the first one ever given. */
export async function findOrCreateArtists(
  client: Client,
  wanted: readonly ArtistWanted[],
): Promise<Map<string, number>> {
  return findOrCreate(client, "artists", wanted, ({ key }) => key, {
    find: `select string_agg((w.ord - 1)::text, ',') as ords, string_agg(a.id::text, ',') as ids
             from unnest($1::text[]) with ordinality as w (name_key, ord)
             cross join lateral (
               select id from artists where name_key = w.name_key
               union all
               select artist_id from artist_aliases where name_key = w.name_key
               limit 1
             ) a`,
    keys: (artists) => [textArray(artists.map(({ key }) => key))],
    insert: `insert into artists (id, name_key, name) overriding system value
             select * from unnest($1::bigint[], $2::text[], $3::text[]) as w (id, name_key, name)
              order by w.name_key collate "C"
             on conflict (name_key) do nothing`,
    values: (artists) => [textArray(artists.map(({ name }) => name))],
  });
}

/** The map key of a wanted track, for looking its id up in the result. */
export const trackKeyOf = (track: Pick<TrackWanted, "artistId" | "titleKey" | "albumKey">): string =>
  `${track.artistId}\0${track.titleKey}\0${track.albumKey}`;

/** A track may be another artist's than the wanted one: it was merged, and an alias led to it. */
export async function findOrCreateTracks(
  client: Client,
  wanted: readonly TrackWanted[],
): Promise<Map<string, TrackRef>> {
  const artistOf = new Map<number, number>();
  const ids = await findOrCreate(client, "tracks", wanted, trackKeyOf, {
    find: `select string_agg((w.ord - 1)::text, ',') as ords, string_agg(t.id::text, ',') as ids,
                  string_agg(t.artist_id::text, ',') as artists
             from unnest($1::bigint[], $2::text[], $3::text[])
                    with ordinality as w (artist_id, title_key, album_key, ord)
             cross join lateral (
               select id, artist_id from tracks
                where artist_id = w.artist_id and title_key = w.title_key and album_key = w.album_key
               union all
               select s.id, s.artist_id from track_aliases a join tracks s on s.id = a.track_id
                where a.artist_id = w.artist_id and a.title_key = w.title_key and a.album_key = w.album_key
               limit 1
             ) t`,
    keys: (tracks) => [
      numberArray(tracks.map((track) => track.artistId)),
      textArray(tracks.map((track) => track.titleKey)),
      textArray(tracks.map((track) => track.albumKey)),
    ],
    insert: `insert into tracks (id, artist_id, title_key, album_key, title, loose_key, duration_ms)
               overriding system value
             select w.* from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[])
                      as w (id, artist_id, title_key, album_key, title, loose_key, duration_ms)
              order by w.artist_id, w.title_key collate "C", w.album_key collate "C"
             on conflict (artist_id, title_key, album_key) do nothing`,
    values: (tracks) => [
      textArray(tracks.map((track) => track.title)),
      textArray(tracks.map((track) => track.looseKey)),
      numberArray(
        tracks.map(({ durationMs }) => (durationMs !== null && durationMs > 0 ? durationMs : null)),
      ),
    ],
    found: ({ ids: trackIds, artists = null }) => {
      const artistIds = numbersOf(artists);
      for (const [index, id] of numbersOf(trackIds).entries()) artistOf.set(id, artistIds[index]!);
    },
  });
  return new Map(
    wanted.map((track) => {
      const trackId = ids.get(trackKeyOf(track))!;
      return [trackKeyOf(track), { trackId, artistId: artistOf.get(trackId) ?? track.artistId }];
    }),
  );
}

export const albumKeyOf = (album: Pick<AlbumWanted, "artistId" | "titleKey">): string =>
  `${album.artistId}\0${album.titleKey}`;

export async function findOrCreateAlbums(
  client: Client,
  wanted: readonly AlbumWanted[],
): Promise<Map<string, number>> {
  return findOrCreate(client, "albums", wanted, albumKeyOf, {
    find: `select string_agg((w.ord - 1)::text, ',') as ords, string_agg(a.id::text, ',') as ids
             from unnest($1::bigint[], $2::text[]) with ordinality as w (artist_id, title_key, ord)
             cross join lateral (
               select id from albums where artist_id = w.artist_id and title_key = w.title_key
               union all
               select album_id from album_aliases where artist_id = w.artist_id and title_key = w.title_key
               limit 1
             ) a`,
    keys: (albums) => [
      numberArray(albums.map((album) => album.artistId)),
      textArray(albums.map((album) => album.titleKey)),
    ],
    insert: `insert into albums (id, artist_id, title_key, title) overriding system value
             select w.* from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])
                      as w (id, artist_id, title_key, title)
              order by w.artist_id, w.title_key collate "C"
             on conflict (artist_id, title_key) do nothing`,
    values: (albums) => [textArray(albums.map((album) => album.title))],
  });
}

export const externalKeyOf = (external: ExternalTrackId): string => `${external.provider}\0${external.id}`;

/** Tracks that strong ids already name. Ids nobody knows are not in the result. */
export async function findTracksByExternalIds(
  client: Client,
  wanted: readonly ExternalTrackId[],
): Promise<Map<string, TrackRef>> {
  if (wanted.length === 0) return new Map();
  const found = await client.query<Found & { artists: string | null }>(
    `select string_agg((w.ord - 1)::text, ',') as ords, string_agg(t.id::text, ',') as ids,
            string_agg(t.artist_id::text, ',') as artists
       from unnest($1::text[], $2::text[]) with ordinality as w (provider, external_id, ord)
       cross join lateral (
         select t.id, t.artist_id
           from external_ids e join tracks t on t.id = e.entity_id
          where e.entity = 'track' and e.provider = w.provider and e.external_id = w.external_id
          limit 1
       ) t`,
    [
      textArray(wanted.map((external) => external.provider)),
      textArray(wanted.map((external) => external.id)),
    ],
  );
  const { ords, ids, artists } = found.rows[0]!;
  const [trackIds, artistIds] = [numbersOf(ids), numbersOf(artists)];
  return new Map(
    numbersOf(ords).map((ord, index) => [
      externalKeyOf(wanted[ord]!),
      { trackId: trackIds[index]!, artistId: artistIds[index]! },
    ]),
  );
}

/**
 * Gives strong ids to tracks. False when another import gave one of them away first: that one stands, and callers
 * read the result again with `findTracksByExternalIds`.
 */
export async function addExternalIds(
  client: Client,
  wanted: readonly (ExternalTrackId & { readonly trackId: number })[],
): Promise<boolean> {
  if (wanted.length === 0) return true;
  const added = await client.query(
    `insert into external_ids (entity, provider, external_id, entity_id)
     select 'track', w.* from unnest($1::text[], $2::text[], $3::bigint[]) as w (provider, external_id, entity_id)
      order by w.provider collate "C", w.external_id collate "C"
     on conflict (entity, provider, external_id) do nothing`,
    [
      textArray(wanted.map((external) => external.provider)),
      textArray(wanted.map((external) => external.id)),
      numberArray(wanted.map((external) => external.trackId)),
    ],
  );
  return added.rowCount === wanted.length;
}

/** Notes that albums have tracks; disc and position stay unknown. */
export async function addAlbumTracks(
  client: Client,
  wanted: readonly { readonly albumId: number; readonly trackId: number }[],
): Promise<void> {
  if (wanted.length === 0) return;
  await client.query(
    `insert into album_tracks (album_id, track_id)
     select w.* from unnest($1::bigint[], $2::bigint[]) as w (album_id, track_id) order by w.album_id, w.track_id
     on conflict (album_id, track_id) do nothing`,
    [numberArray(wanted.map((pair) => pair.albumId)), numberArray(wanted.map((pair) => pair.trackId))],
  );
}

/** How rows of one table are found and made. `find` takes `keys`; `insert` takes ids, `keys`, `values`. */
interface Statements<T> {
  readonly find: string;
  readonly insert: string;
  readonly keys: (items: readonly T[]) => unknown[];
  readonly values: (items: readonly T[]) => unknown[];
  /** Hears of what was there already. */
  readonly found?: (rows: Found) => void;
}

/**
 * Looks first, so that known rows cost no identity values. Looks again only when a row was not inserted: another
 * import was quicker, so that losing a race is no matter.
 */
async function findOrCreate<T>(
  client: Client,
  table: NumberedTable,
  wanted: readonly T[],
  keyOf: (item: T) => string,
  statements: Statements<T>,
): Promise<Map<string, number>> {
  const open = new Map<string, T>();
  for (const item of wanted) {
    const key = keyOf(item);
    if (!open.has(key)) open.set(key, item);
  }
  const ids = new Map<string, number>();
  const settle = (key: string, id: number): void => {
    ids.set(key, id);
    open.delete(key);
  };
  const look = async (): Promise<void> => {
    if (open.size === 0) return;
    const keys = [...open.keys()];
    const found = await client.query<Found>(statements.find, statements.keys([...open.values()]));
    statements.found?.(found.rows[0]!);
    const foundIds = numbersOf(found.rows[0]!.ids);
    for (const [index, ord] of numbersOf(found.rows[0]!.ords).entries()) settle(keys[ord]!, foundIds[index]!);
  };

  await look();
  if (open.size === 0) return ids;
  const items = [...open.values()];
  const made = await newIds(client, table, items.length);
  const inserted = await client.query(statements.insert, [
    numberArray(made),
    ...statements.keys(items),
    ...statements.values(items),
  ]);
  if (inserted.rowCount === items.length) {
    for (const [index, key] of [...open.keys()].entries()) settle(key, made[index]!);
    return ids;
  }
  await look();
  if (open.size > 0) throw new Error(`${open.size} catalogue row(s) vanished while they were being created`);
  return ids;
}
