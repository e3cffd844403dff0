/**
 * Changes of artists, albums and tracks, under the lock on the catalogue taken alone. A name that is given up stays as
 * an alias, so that the next import that uses it finds the same one. See docs/adr/0015.
 */
import type { ClientBase } from "pg";
import { announceChange, CATALOGUE } from "../../db/queries/cacheVersions.js";
import type { AlbumDetail, ArtistDetail, TrackDetail } from "../../db/queries/catalogue.js";
import { readAlbum, readArtist, readTrack } from "../../db/queries/catalogue.js";
import { creditArtists, placeTracks } from "./details.js";
import { replaceIds } from "./externalIds.js";
import { EXTERNAL_ID_PATH, withIsrc } from "./fields.js";
import type { AlbumFields, ArtistFields, TrackFields } from "./fields.js";
import { FIND_ALBUM, FIND_ARTIST, FIND_TRACK } from "./creating.js";
import { UNKNOWN_ARTIST_KEY } from "./findOrCreate.js";
import { looseKey, nameKey } from "./keys.js";
import { movedFrom, reserved, taken } from "./references.js";
import type { Found } from "./references.js";

/** Throws to refuse a change of what is there now. */
export type Check<T> = (current: T) => void;

/** Throws `NotFoundError`, `ConflictError` (`taken`, `reserved`), `ValidationError`, and what `check` throws. */
export async function editArtist(
  client: ClientBase,
  id: number,
  changes: Partial<ArtistFields>,
  check: Check<ArtistDetail>,
): Promise<Found<ArtistDetail>> {
  const current = await readArtist(client, id);
  if (current === null) return movedFrom(client, "artist", id);
  const key = await columnOf(client, "select name_key as key from artists where id = $1", [id]);
  if (key === UNKNOWN_ARTIST_KEY) throw reserved("This artist");
  check(current);
  const { name, country, externalIds } = changes;
  if (name !== undefined) {
    const next = nameKey(name);
    if (next !== key) {
      await refuseTaken(client, "name", "artist", id, FIND_ARTIST, [next]);
      await client.query("delete from artist_aliases where name_key = $1", [next]);
    }
    await client.query("update artists set name = $2, name_key = $3 where id = $1", [id, name, next]);
    if (next !== key) {
      await client.query("insert into artist_aliases (name_key, artist_id) values ($1, $2)", [key, id]);
    }
    await rekeyTracks(client, id, name);
  }
  if (country !== undefined)
    await client.query("update artists set country = $2 where id = $1", [id, country]);
  if (externalIds !== undefined) await replaceIds(client, "artist", id, externalIds, EXTERNAL_ID_PATH);
  await client.query("update artists set version = version + 1, updated_at = now() where id = $1", [id]);
  await announceChange(client, CATALOGUE);
  return (await readArtist(client, id))!;
}

/** Throws as `editArtist`. */
export async function editAlbum(
  client: ClientBase,
  id: number,
  changes: Partial<AlbumFields>,
  check: Check<AlbumDetail>,
): Promise<Found<AlbumDetail>> {
  const current = await readAlbum(client, id);
  if (current === null) return movedFrom(client, "album", id);
  check(current);
  const { title, releaseDate, tracks, externalIds } = changes;
  if (title !== undefined) {
    const [artistId, next] = [current.artist.id, nameKey(title)];
    const key = await columnOf(client, "select title_key as key from albums where id = $1", [id]);
    if (next !== key) {
      await refuseTaken(client, "title", "album", id, FIND_ALBUM, [artistId, next]);
      await client.query("delete from album_aliases where artist_id = $1 and title_key = $2", [
        artistId,
        next,
      ]);
    }
    await client.query("update albums set title = $2, title_key = $3 where id = $1", [id, title, next]);
    if (next !== key) {
      await client.query("insert into album_aliases (artist_id, title_key, album_id) values ($1, $2, $3)", [
        artistId,
        key,
        id,
      ]);
    }
  }
  if (releaseDate !== undefined) {
    await client.query("update albums set release_date = $2 where id = $1", [id, releaseDate]);
  }
  if (tracks !== undefined) await placeTracks(client, id, tracks);
  if (externalIds !== undefined) await replaceIds(client, "album", id, externalIds, EXTERNAL_ID_PATH);
  await client.query("update albums set version = version + 1, updated_at = now() where id = $1", [id]);
  await announceChange(client, CATALOGUE);
  return (await readAlbum(client, id))!;
}

/** Throws as `editArtist`. */
export async function editTrack(
  client: ClientBase,
  id: number,
  changes: Partial<TrackFields>,
  check: Check<TrackDetail>,
): Promise<Found<TrackDetail>> {
  const current = await readTrack(client, id);
  if (current === null) return movedFrom(client, "track", id);
  check(current);
  const { title, durationMs, artists } = changes;
  if (title !== undefined) await renameTrack(client, current, title);
  if (durationMs !== undefined) {
    await client.query("update tracks set duration_ms = $2 where id = $1", [id, durationMs]);
  }
  if (artists !== undefined) await creditArtists(client, id, artists);
  await changeTrackIds(client, current, changes);
  await client.query("update tracks set version = version + 1, updated_at = now() where id = $1", [id]);
  await announceChange(client, CATALOGUE);
  return (await readTrack(client, id))!;
}

async function renameTrack(client: ClientBase, { id, artist }: TrackDetail, title: string): Promise<void> {
  const { rows } = await client.query<{ title_key: string; album_key: string }>(
    "select title_key, album_key from tracks where id = $1",
    [id],
  );
  const { title_key: key, album_key: albumKey } = rows[0]!;
  const next = nameKey(title);
  if (next !== key) {
    await refuseTaken(client, "title", "track", id, FIND_TRACK, [artist.id, next, albumKey]);
    await client.query(
      "delete from track_aliases where artist_id = $1 and title_key = $2 and album_key = $3",
      [artist.id, next, albumKey],
    );
  }
  await client.query("update tracks set title = $2, title_key = $3, loose_key = $4 where id = $1", [
    id,
    title,
    next,
    looseKey(artist.name, title),
  ]);
  if (next !== key) {
    await client.query(
      "insert into track_aliases (artist_id, title_key, album_key, track_id) values ($1, $2, $3, $4)",
      [artist.id, key, albumKey, id],
    );
  }
}

/** What is not mentioned stays: the ISRC among new ids, and the other ids beside a new ISRC. */
async function changeTrackIds(
  client: ClientBase,
  current: TrackDetail,
  { isrc, externalIds }: Partial<TrackFields>,
): Promise<void> {
  if (isrc === undefined && externalIds === undefined) return;
  const kept = current.externalIds.filter(
    ({ provider, id }) => isrc === undefined || provider !== "isrc" || id !== current.isrc,
  );
  const next = isrc === undefined ? current.isrc : isrc;
  const { ids, pathOf } = withIsrc(externalIds ?? kept, next);
  await client.query("update tracks set isrc = $2 where id = $1", [current.id, next]);
  await replaceIds(client, "track", current.id, ids, pathOf);
}

/** Their coarse keys have the artist's name in them. */
async function rekeyTracks(client: ClientBase, artistId: number, name: string): Promise<void> {
  const { rows } = await client.query<{ id: number; title: string }>(
    "select id, title from tracks where artist_id = $1 order by id",
    [artistId],
  );
  await client.query(
    `update tracks t set loose_key = w.loose_key
       from unnest($1::bigint[], $2::text[]) as w (id, loose_key)
      where t.id = w.id and t.loose_key <> w.loose_key`,
    [rows.map(({ id }) => id), rows.map(({ title }) => looseKey(name, title))],
  );
}

async function columnOf(client: ClientBase, text: string, values: readonly unknown[]): Promise<string> {
  const { rows } = await client.query<{ key: string }>(text, [...values]);
  return rows[0]!.key;
}

/** A name of this one, now or before, is no obstacle. */
async function refuseTaken(
  client: ClientBase,
  path: string,
  entity: "artist" | "album" | "track",
  own: number,
  find: string,
  key: readonly unknown[],
): Promise<void> {
  const { rows } = await client.query<{ id: number }>(find, [...key]);
  const other = rows[0]?.id;
  if (other !== undefined && other !== own) throw taken(path, entity, other, own);
}
