/**
 * Finds or creates many catalogue rows at once. Every statement works in the order of its keys, and callers go
 * artists, tracks, external ids, albums, album tracks: two imports that meet wait for each other, never in a ring.
 *
 * All look-ups have the form `unnest(...) cross join lateral (... limit 1)`: one index probe per key, whatever the
 * planner believes about the number of keys.
 */
import type { ClientBase } from "pg";

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
type Found = { ord: number; id: number }[];

/** Ids of artists by key; the display name is the first one ever given. */
export async function findOrCreateArtists(
  client: Client,
  wanted: readonly ArtistWanted[],
): Promise<Map<string, number>> {
  const distinct = inKeyOrder(wanted, (artist) => artist.key);
  const ids = await findOrCreate(
    distinct,
    async (missing) =>
      (
        await client.query<Found[number]>(
          `select w.ord::int - 1 as ord, a.id
             from unnest($1::text[]) with ordinality as w (name_key, ord)
             cross join lateral (select id from artists where name_key = w.name_key limit 1) a`,
          [missing.map((artist) => artist.key)],
        )
      ).rows,
    (missing) =>
      client.query(
        `insert into artists (name, name_key)
         select * from unnest($1::text[], $2::text[]) as w (name, name_key) order by w.name_key collate "C"
         on conflict (name_key) do nothing`,
        [missing.map((artist) => artist.name), missing.map((artist) => artist.key)],
      ),
  );
  return new Map(distinct.map((artist, index) => [artist.key, ids[index]!]));
}

/** The map key of a wanted track, for looking its id up in the result. */
export const trackKeyOf = (track: Pick<TrackWanted, "artistId" | "titleKey" | "albumKey">): string =>
  `${track.artistId}\0${track.titleKey}\0${track.albumKey}`;

export async function findOrCreateTracks(
  client: Client,
  wanted: readonly TrackWanted[],
): Promise<Map<string, number>> {
  const distinct = inKeyOrder(wanted, trackKeyOf);
  const ids = await findOrCreate(
    distinct,
    async (missing) =>
      (
        await client.query<Found[number]>(
          `select w.ord::int - 1 as ord, t.id
             from unnest($1::bigint[], $2::text[], $3::text[])
                    with ordinality as w (artist_id, title_key, album_key, ord)
             cross join lateral (
               select id from tracks
                where artist_id = w.artist_id and title_key = w.title_key and album_key = w.album_key limit 1
             ) t`,
          [
            missing.map((track) => track.artistId),
            missing.map((track) => track.titleKey),
            missing.map((track) => track.albumKey),
          ],
        )
      ).rows,
    (missing) =>
      client.query(
        `insert into tracks (artist_id, title, title_key, album_key, loose_key, duration_ms)
         select w.* from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[])
                  as w (artist_id, title, title_key, album_key, loose_key, duration_ms)
          order by w.artist_id, w.title_key collate "C", w.album_key collate "C"
         on conflict (artist_id, title_key, album_key) do nothing`,
        [
          missing.map((track) => track.artistId),
          missing.map((track) => track.title),
          missing.map((track) => track.titleKey),
          missing.map((track) => track.albumKey),
          missing.map((track) => track.looseKey),
          missing.map((track) =>
            track.durationMs !== null && track.durationMs > 0 ? track.durationMs : null,
          ),
        ],
      ),
  );
  return new Map(distinct.map((track, index) => [trackKeyOf(track), ids[index]!]));
}

export const albumKeyOf = (album: Pick<AlbumWanted, "artistId" | "titleKey">): string =>
  `${album.artistId}\0${album.titleKey}`;

export async function findOrCreateAlbums(
  client: Client,
  wanted: readonly AlbumWanted[],
): Promise<Map<string, number>> {
  const distinct = inKeyOrder(wanted, albumKeyOf);
  const ids = await findOrCreate(
    distinct,
    async (missing) =>
      (
        await client.query<Found[number]>(
          `select w.ord::int - 1 as ord, a.id
             from unnest($1::bigint[], $2::text[]) with ordinality as w (artist_id, title_key, ord)
             cross join lateral (
               select id from albums where artist_id = w.artist_id and title_key = w.title_key limit 1
             ) a`,
          [missing.map((album) => album.artistId), missing.map((album) => album.titleKey)],
        )
      ).rows,
    (missing) =>
      client.query(
        `insert into albums (artist_id, title, title_key)
         select w.* from unnest($1::bigint[], $2::text[], $3::text[]) as w (artist_id, title, title_key)
          order by w.artist_id, w.title_key collate "C"
         on conflict (artist_id, title_key) do nothing`,
        [
          missing.map((album) => album.artistId),
          missing.map((album) => album.title),
          missing.map((album) => album.titleKey),
        ],
      ),
  );
  return new Map(distinct.map((album, index) => [albumKeyOf(album), ids[index]!]));
}

export const externalKeyOf = (external: ExternalTrackId): string => `${external.provider}\0${external.id}`;

/** Tracks that strong ids already name. Ids nobody knows are not in the result. */
export async function findTracksByExternalIds(
  client: Client,
  wanted: readonly ExternalTrackId[],
): Promise<Map<string, TrackRef>> {
  if (wanted.length === 0) return new Map();
  const found = await client.query<{ ord: number; track_id: number; artist_id: number }>(
    `select w.ord::int - 1 as ord, t.track_id, t.artist_id
       from unnest($1::text[], $2::text[]) with ordinality as w (provider, external_id, ord)
       cross join lateral (
         select t.id as track_id, t.artist_id
           from external_ids e join tracks t on t.id = e.entity_id
          where e.entity = 'track' and e.provider = w.provider and e.external_id = w.external_id
          limit 1
       ) t`,
    [wanted.map((external) => external.provider), wanted.map((external) => external.id)],
  );
  return new Map(
    found.rows.map((row) => [
      externalKeyOf(wanted[row.ord]!),
      { trackId: row.track_id, artistId: row.artist_id },
    ]),
  );
}

/**
 * Gives strong ids to tracks. Where another import gave one of them away first, that one stands: callers read
 * the result again with `findTracksByExternalIds`.
 */
export async function addExternalIds(
  client: Client,
  wanted: readonly (ExternalTrackId & { readonly trackId: number })[],
): Promise<void> {
  if (wanted.length === 0) return;
  await client.query(
    `insert into external_ids (entity, provider, external_id, entity_id)
     select 'track', w.* from unnest($1::text[], $2::text[], $3::bigint[]) as w (provider, external_id, entity_id)
      order by w.provider collate "C", w.external_id collate "C"
     on conflict (entity, provider, external_id) do nothing`,
    [
      wanted.map((external) => external.provider),
      wanted.map((external) => external.id),
      wanted.map((external) => external.trackId),
    ],
  );
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
    [wanted.map((pair) => pair.albumId), wanted.map((pair) => pair.trackId)],
  );
}

/** One of each key. The statements sort by themselves; here it only makes the result independent of file order. */
function inKeyOrder<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  const byKey = new Map<string, T>();
  for (const item of items) if (!byKey.has(keyOf(item))) byKey.set(keyOf(item), item);
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
}

/** Looks first, so that known rows cost no identity values; looks again after inserting, so that losing a race is no matter. */
async function findOrCreate<T>(
  items: readonly T[],
  find: (missing: readonly T[]) => Promise<Found>,
  insert: (missing: readonly T[]) => Promise<unknown>,
): Promise<(number | undefined)[]> {
  const ids: (number | undefined)[] = new Array<undefined>(items.length).fill(undefined);
  const missing = (): number[] => [...ids.keys()].filter((index) => ids[index] === undefined);
  const look = async (): Promise<void> => {
    const indexes = missing();
    if (indexes.length === 0) return;
    for (const { ord, id } of await find(indexes.map((index) => items[index]!))) ids[indexes[ord]!] = id;
  };
  await look();
  const unknown = missing();
  if (unknown.length === 0) return ids;
  await insert(unknown.map((index) => items[index]!));
  await look();
  const lost = missing().length;
  if (lost > 0) throw new Error(`${lost} catalogue row(s) vanished while they were being created`);
  return ids;
}
