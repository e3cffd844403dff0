/** A catalogue put straight into the tables, as an import would, and the index brought up to date by hand. */
import type pg from "pg";
import { looseKey, nameKey } from "../../../services/catalog/keys.js";
import { updateSearchIndex } from "../../../services/search/upkeep.js";

export interface TrackSpec {
  readonly artist: string;
  readonly title: string;
  readonly album?: string;
  readonly popularity?: number;
}

export interface TrackIds {
  readonly artistId: number;
  readonly trackId: number;
  readonly albumId: number | null;
}

/** Artists, albums and tracks that are not there yet; their ids in the order of `specs`. */
export async function insertTracks(pool: pg.Pool, specs: readonly TrackSpec[]): Promise<TrackIds[]> {
  const artists = specs.map(({ artist }) => artist);
  const titles = specs.map(({ title }) => title);
  const albums = specs.map(({ album }) => album ?? null);
  const keys = {
    artists: artists.map(nameKey),
    titles: titles.map(nameKey),
    albums: albums.map((album) => (album === null ? null : nameKey(album))),
  };
  await pool.query(
    `insert into artists (name, name_key)
     select distinct on (key) name, key from unnest($1::text[], $2::text[]) as w (name, key) on conflict do nothing`,
    [artists, keys.artists],
  );
  await pool.query(
    `insert into albums (artist_id, title, title_key)
     select distinct on (a.id, w.key) a.id, w.title, w.key
       from unnest($1::text[], $2::text[], $3::text[]) as w (artist, title, key) join artists a on a.name_key = w.artist
      where w.key is not null on conflict do nothing`,
    [keys.artists, albums, keys.albums],
  );
  await pool.query(
    `insert into tracks (artist_id, title, title_key, loose_key, popularity)
     select distinct on (a.id, w.key) a.id, w.title, w.key, w.loose, w.popularity
       from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::integer[]) as w (artist, title, key, loose, popularity)
       join artists a on a.name_key = w.artist on conflict do nothing`,
    [
      keys.artists,
      titles,
      keys.titles,
      specs.map(({ artist, title }) => looseKey(artist, title)),
      specs.map(({ popularity }) => popularity ?? 0),
    ],
  );
  const { rows } = await pool.query<{ artist_id: number; track_id: number; album_id: number | null }>(
    `select a.id as artist_id, t.id as track_id, b.id as album_id
       from unnest($1::text[], $2::text[], $3::text[]) with ordinality as w (artist, title, album, n)
       join artists a on a.name_key = w.artist
       join tracks t on t.artist_id = a.id and t.title_key = w.title
       left join albums b on b.artist_id = a.id and b.title_key = w.album
      order by n`,
    [keys.artists, keys.titles, keys.albums],
  );
  return rows.map((row) => ({ artistId: row.artist_id, trackId: row.track_id, albumId: row.album_id }));
}

/** Until nothing is noted any more: a renamed artist leads to further notes. */
export async function catchUp(pool: pg.Pool): Promise<void> {
  while ((await updateSearchIndex(pool)) > 0);
}

/** The whole index as one value: documents, and the words that a slip may stand for. */
export async function indexState(pool: pg.Pool): Promise<unknown> {
  const documents = await pool.query(
    "select entity, entity_id, name, words::text, popularity from search_documents order by entity, entity_id",
  );
  const words = await pool.query("select word, documents, near from search_words order by word");
  return { documents: documents.rows, words: words.rows };
}
