/**
 * New artists, albums and tracks by hand. What is there already, under its strong ids or its name (an old name too),
 * is found and left as it is: anybody may add to the catalogue, but only editors change it.
 */
import type { ClientBase } from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import type { ExternalIdView } from "../../db/queries/catalogue.js";
import { creditArtists, placeTracks } from "./details.js";
import { addIds, ownersOf } from "./externalIds.js";
import { EXTERNAL_ID_PATH, withIsrc } from "./fields.js";
import type { AlbumFields, ArtistChoice, ArtistFields, TrackFields } from "./fields.js";
import { findOrCreateArtists } from "./findOrCreate.js";
import { looseKey, nameKey } from "./keys.js";
import { currentIds, taken } from "./references.js";

type Client = Pick<ClientBase, "query">;

export interface Creation {
  readonly id: number;
  readonly created: boolean;
}

interface Wanted {
  readonly entity: CatalogueEntity;
  /** Finds the one that has this name, or had it, by `key`. */
  readonly find: string;
  readonly key: readonly unknown[];
  /** Adds it and gives its id; nothing when somebody else was quicker. Takes `key` and then `values`. */
  readonly insert: string;
  readonly values: readonly unknown[];
  readonly ids: readonly ExternalIdView[];
  readonly pathOf: (index: number) => string;
}

/** Throws `ConflictError` (`taken`) when the strong ids are several ones', or not those of the one with this name. */
async function create(client: Client, wanted: Wanted): Promise<Creation> {
  const { entity, ids, pathOf } = wanted;
  const [owner, ...owners] = await ownersOf(client, entity, ids);
  const other = owners.find(({ id }) => id !== owner?.id);
  if (owner !== undefined && other !== undefined)
    throw taken(pathOf(other.index), entity, other.id, owner.id);
  const named = await idOf(client, wanted.find, wanted.key);
  if (owner !== undefined) {
    if (named !== null && named !== owner.id) throw taken(pathOf(owner.index), entity, owner.id, named);
    return { id: owner.id, created: false };
  }
  if (named !== null) return { id: named, created: false };
  const made = await idOf(client, wanted.insert, [...wanted.key, ...wanted.values]);
  if (made === null) {
    const theirs = await idOf(client, wanted.find, wanted.key);
    if (theirs === null) throw new Error(`A ${entity} vanished while it was being created`);
    return { id: theirs, created: false };
  }
  await addIds(client, entity, made, ids, pathOf);
  return { id: made, created: true };
}

async function idOf(client: Client, text: string, values: readonly unknown[]): Promise<number | null> {
  const { rows } = await client.query<{ id: number }>(text, [...values]);
  return rows[0]?.id ?? null;
}

export const FIND_ARTIST = `
  select id from artists where name_key = $1
  union all
  select artist_id from artist_aliases where name_key = $1
  limit 1`;

export async function createArtist(
  client: Client,
  { name, country, externalIds }: ArtistFields,
): Promise<Creation> {
  return create(client, {
    entity: "artist",
    find: FIND_ARTIST,
    key: [nameKey(name)],
    insert: `insert into artists (name_key, name, country) values ($1, $2, $3)
             on conflict (name_key) do nothing returning id`,
    values: [name, country],
    ids: externalIds,
    pathOf: EXTERNAL_ID_PATH,
  });
}

export const FIND_ALBUM = `
  select id from albums where artist_id = $1 and title_key = $2
  union all
  select album_id from album_aliases where artist_id = $1 and title_key = $2
  limit 1`;

/** Throws as the others, and `ValidationError` for an artist or a track that is not there. */
export async function createAlbum(
  client: Client,
  { title, releaseDate, tracks, externalIds, ...choice }: AlbumFields & ArtistChoice,
): Promise<Creation> {
  const artistId = await chooseArtist(client, choice);
  const creation = await create(client, {
    entity: "album",
    find: FIND_ALBUM,
    key: [artistId, nameKey(title)],
    insert: `insert into albums (artist_id, title_key, title, release_date) values ($1, $2, $3, $4)
             on conflict (artist_id, title_key) do nothing returning id`,
    values: [title, releaseDate],
    ids: externalIds,
    pathOf: EXTERNAL_ID_PATH,
  });
  if (creation.created) await placeTracks(client, creation.id, tracks);
  return creation;
}

export const FIND_TRACK = `
  select id from tracks where artist_id = $1 and title_key = $2 and album_key = $3
  union all
  select track_id from track_aliases where artist_id = $1 and title_key = $2 and album_key = $3
  limit 1`;

/** Throws as `createAlbum`. */
export async function createTrack(
  client: Client,
  { title, durationMs, isrc, artists, externalIds, ...choice }: TrackFields & ArtistChoice,
): Promise<Creation> {
  const artistId = await chooseArtist(client, choice);
  const { rows } = await client.query<{ name: string }>("select name from artists where id = $1", [artistId]);
  const creation = await create(client, {
    entity: "track",
    find: FIND_TRACK,
    key: [artistId, nameKey(title), ""],
    insert: `insert into tracks (artist_id, title_key, album_key, title, loose_key, duration_ms, isrc)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (artist_id, title_key, album_key) do nothing returning id`,
    values: [title, looseKey(rows[0]!.name, title), durationMs, isrc],
    ...withIsrc(externalIds, isrc),
  });
  if (creation.created) await creditArtists(client, creation.id, artists);
  return creation;
}

async function chooseArtist(client: Client, choice: ArtistChoice): Promise<number> {
  if ("artistId" in choice) {
    const [id] = await currentIds(client, "artist", [choice.artistId], () => "artistId");
    return id!;
  }
  const key = nameKey(choice.artist);
  return (await findOrCreateArtists(client, [{ name: choice.artist, key }])).get(key)!;
}
