/**
 * Artists, albums and tracks with all that belongs to them, one statement each. The parts come as JSON from sub-selects
 * that find them by index, so that a page of a list costs as many probes as it has rows, and no join.
 */
import type pg from "pg";
import { PAGE_MAX_BYTES, Values } from "../lists.js";
import type { CatalogueEntity, CreditRole, ExternalIdProvider } from "../models/enums.js";

type Client = Pick<pg.Pool | pg.PoolClient, "query">;

export interface ExternalIdView {
  readonly provider: ExternalIdProvider;
  readonly id: string;
}

export interface NamedArtist {
  readonly id: number;
  readonly name: string;
}

export interface Place {
  readonly disc: number | null;
  readonly position: number | null;
}

export interface ArtistSummary {
  readonly id: number;
  readonly name: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string | null;
  readonly popularity: number;
  readonly externalIds: readonly ExternalIdView[];
}

export interface ArtistDetail extends ArtistSummary {
  /** Newest first; at most `DISCOGRAPHY_MAX`. */
  readonly albums: readonly { id: number; title: string; releaseDate: string | null }[];
  /** Most played first. */
  readonly topTracks: readonly {
    id: number;
    title: string;
    durationMs: number | null;
    popularity: number;
  }[];
}

export interface AlbumSummary {
  readonly id: number;
  readonly title: string;
  readonly artist: NamedArtist;
  /** `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. */
  readonly releaseDate: string | null;
  readonly popularity: number;
  readonly externalIds: readonly ExternalIdView[];
}

export interface AlbumDetail extends AlbumSummary {
  /** In order; those without a place last. At most `DISCOGRAPHY_MAX`. */
  readonly tracks: readonly (Place & { id: number; title: string; durationMs: number | null })[];
}

export interface TrackDetail {
  readonly id: number;
  readonly title: string;
  readonly durationMs: number | null;
  readonly isrc: string | null;
  readonly artist: NamedArtist;
  /** Credits; the track's artist alone where no source told any. */
  readonly artists: readonly (NamedArtist & { role: CreditRole })[];
  readonly albums: readonly (Place & { id: number; title: string })[];
  readonly externalIds: readonly ExternalIdView[];
  readonly popularity: number;
}

/** More than any artist has albums, or any album tracks; under the reserved artist there may be any number. */
const DISCOGRAPHY_MAX = 1000;
const TOP_TRACKS = 10;
const TRACK_ALBUMS_MAX = 100;

const list = (select: string): string =>
  `(select coalesce(json_agg(row_to_json(x)), '[]') from (${select}) x)`;

const externalIds = (entity: CatalogueEntity, id: string): string =>
  list(`select provider, external_id as id from external_ids where entity = '${entity}' and entity_id = ${id}
         order by provider collate "C", external_id`);

const artistOf = (id: string): string =>
  `(select row_to_json(x) from (select id, name from artists where id = ${id}) x)`;

const ARTIST = `a.id, a.name, a.country, a.popularity, ${externalIds("artist", "a.id")} as "externalIds"`;

const DISCOGRAPHY = `
  ${list(`select id, title, release_date as "releaseDate" from albums where artist_id = a.id
           order by release_date desc nulls last, title_key, id limit ${DISCOGRAPHY_MAX}`)} as albums,
  ${list(`select id, title, duration_ms as "durationMs", popularity from tracks where artist_id = a.id
           order by popularity desc, id limit ${TOP_TRACKS}`)} as "topTracks"`;

const ALBUM = `b.id, b.title, ${artistOf("b.artist_id")} as artist, b.release_date as "releaseDate", b.popularity,
  ${externalIds("album", "b.id")} as "externalIds"`;

const ALBUM_TRACKS = `
  ${list(`select t.id, t.title, p.disc, p.position, t.duration_ms as "durationMs"
            from album_tracks p join tracks t on t.id = p.track_id
           where p.album_id = b.id
           order by p.disc nulls last, p.position nulls last, t.title_key, t.id limit ${DISCOGRAPHY_MAX}`)} as tracks`;

const TRACK = `t.id, t.title, t.duration_ms as "durationMs", t.popularity,
  coalesce(t.isrc, (select min(external_id) from external_ids
                     where entity = 'track' and entity_id = t.id and provider = 'isrc')) as isrc,
  ${artistOf("t.artist_id")} as artist,
  coalesce(
    (select json_agg(row_to_json(x)) from (
       select a.id, a.name, c.role from track_artists c join artists a on a.id = c.artist_id
        where c.track_id = t.id order by c.position, a.id, c.role) x),
    (select json_agg(row_to_json(x)) from (
       select id, name, 'main' as role from artists where id = t.artist_id) x)
  ) as artists,
  ${list(`select b.id, b.title, p.disc, p.position from album_tracks p join albums b on b.id = p.album_id
           where p.track_id = t.id order by b.id limit ${TRACK_ALBUMS_MAX}`)} as albums,
  ${externalIds("track", "t.id")} as "externalIds"`;

async function first<T extends pg.QueryResultRow>(
  client: Client,
  text: string,
  id: number,
): Promise<T | null> {
  const { rows } = await client.query<T>(text, [id]);
  return rows[0] ?? null;
}

export const readArtist = (client: Client, id: number): Promise<ArtistDetail | null> =>
  first(client, `select ${ARTIST}, ${DISCOGRAPHY} from artists a where a.id = $1`, id);

export const readAlbum = (client: Client, id: number): Promise<AlbumDetail | null> =>
  first(client, `select ${ALBUM}, ${ALBUM_TRACKS} from albums b where b.id = $1`, id);

export const readTrack = (client: Client, id: number): Promise<TrackDetail | null> =>
  first(client, `select ${TRACK} from tracks t where t.id = $1`, id);

/** The id that stands for one that was merged away; null when `id` was not. */
export async function survivorOf(
  client: Client,
  entity: CatalogueEntity,
  id: number,
): Promise<number | null> {
  const { rows } = await client.query<{ into_id: number }>(
    "select into_id from catalogue_merges where entity = $1 and old_id = $2",
    [entity, id],
  );
  return rows[0]?.into_id ?? null;
}

/** Most popular first, or by key. Where a page before this one ended is the sort key of its last row. */
export type ListOrder =
  | { readonly by: "popular"; readonly after?: { readonly popularity: number; readonly id: number } }
  | { readonly by: "name"; readonly after?: NamePosition };

/** Key of the name, and what tells rows with the same key apart. */
export interface NamePosition {
  readonly key: string;
  readonly artistId: number;
  readonly albumKey: string;
}

export interface CatalogueListRequest {
  readonly order: ListOrder;
  /** Beginning of the key of the name. */
  readonly prefix?: string;
  /** For albums and tracks. */
  readonly artistId?: number;
  readonly limit: number;
}

/** With what its position in a list by name is made of. */
export type Listed<T> = T & { readonly sortKey: NamePosition };

export interface ListedPage<T> {
  /** As many as were asked for, and fewer where they are very long. */
  readonly rows: readonly Listed<T>[];
  readonly more: boolean;
}

/** How a table is listed. Columns of one sort key, the first of them the key of the name. */
interface ListShape {
  readonly table: "artists" | "albums" | "tracks";
  readonly alias: string;
  readonly columns: string;
  readonly key: readonly string[];
  readonly sortKey: string;
}

const ARTISTS: ListShape = {
  table: "artists",
  alias: "a",
  columns: ARTIST,
  key: ["name_key"],
  sortKey: "json_build_object('key', a.name_key, 'artistId', a.id, 'albumKey', '')",
};
const ALBUMS: ListShape = {
  table: "albums",
  alias: "b",
  columns: ALBUM,
  key: ["title_key", "artist_id"],
  sortKey: "json_build_object('key', b.title_key, 'artistId', b.artist_id, 'albumKey', '')",
};
const TRACKS: ListShape = {
  table: "tracks",
  alias: "t",
  columns: TRACK,
  key: ["title_key", "artist_id", "album_key"],
  sortKey: "json_build_object('key', t.title_key, 'artistId', t.artist_id, 'albumKey', t.album_key)",
};

const SHAPES: Readonly<Record<CatalogueEntity, ListShape>> = {
  artist: ARTISTS,
  album: ALBUMS,
  track: TRACKS,
};

/** Greater than every character that a key can have, by bytes. */
const LAST_CHARACTER = "\u{10ffff}";

/** One row more than the limit is looked for, to know whether a page follows. */
async function readList<T extends pg.QueryResultRow>(
  client: Client,
  { table, alias, columns, key, sortKey }: ListShape,
  { order, prefix, artistId, limit }: CatalogueListRequest,
): Promise<ListedPage<T>> {
  const values = new Values();
  const conditions: string[] = [];
  if (prefix !== undefined) {
    conditions.push(
      `${key[0]!} >= ${values.add(prefix)} and ${key[0]!} < ${values.add(prefix + LAST_CHARACTER)}`,
    );
  }
  if (artistId !== undefined) conditions.push(`artist_id = ${values.add(artistId)}`);
  if (order.by === "popular" && order.after !== undefined) {
    const { popularity, id } = order.after;
    conditions.push(`(popularity, id) < (${values.add(popularity)}::integer, ${values.add(id)}::bigint)`);
  }
  if (order.by === "name" && order.after !== undefined) {
    const { after } = order;
    const position = [after.key, after.artistId, after.albumKey].slice(0, key.length);
    conditions.push(`(${key.join(", ")}) > (${position.map((value) => values.add(value)).join(", ")})`);
  }
  const sort = order.by === "popular" ? "popularity desc, id desc" : key.join(", ");
  const where = conditions.length === 0 ? "" : `where ${conditions.join(" and ")}`;
  const { rows } = await client.query<Listed<T> & { readonly found: number }>(
    `${bounded(`
       select ${columns}, ${sortKey} as "sortKey", row_number() over (order by ${sort}) as n
         from (select * from ${table} ${where} order by ${sort} limit ${values.add(limit + 1)}) ${alias}`)}
        and n <= ${values.add(limit)} order by n`,
    values.list,
  );
  return { rows, more: (rows[0]?.found ?? 0) > rows.length };
}

/** The position of a row whose key is too long to be carried in a cursor; null when it is gone. */
export async function positionOf(
  client: Client,
  entity: CatalogueEntity,
  id: number,
): Promise<NamePosition | null> {
  const { table, alias, sortKey } = SHAPES[entity];
  const { rows } = await client.query<{ sortKey: NamePosition }>(
    `select ${sortKey} as "sortKey" from ${table} ${alias} where id = $1`,
    [id],
  );
  return rows[0]?.sortKey ?? null;
}

export const readArtists = (
  client: Client,
  request: CatalogueListRequest,
): Promise<ListedPage<ArtistSummary>> => readList(client, ARTISTS, request);

export const readAlbums = (
  client: Client,
  request: CatalogueListRequest,
): Promise<ListedPage<AlbumSummary>> => readList(client, ALBUMS, request);

export const readTracks = (client: Client, request: CatalogueListRequest): Promise<ListedPage<TrackDetail>> =>
  readList(client, TRACKS, request);

/**
 * Rows of one kind by their ids, as its list shows them: in this order, without those that are gone, and from the
 * beginning only where they are very long.
 */
export async function readByIds<E extends CatalogueEntity>(
  client: Client,
  entity: E,
  ids: readonly number[],
): Promise<{ readonly rows: readonly CatalogueItem<E>[]; readonly more: boolean }> {
  const { table, alias, columns } = SHAPES[entity];
  const { rows } = await client.query<CatalogueItem<E> & { readonly found: number }>(
    `${bounded(`
       select ${columns}, w.n from unnest($1::bigint[]) with ordinality as w (id, n)
         join ${table} ${alias} on ${alias}.id = w.id`)} order by n`,
    [ids],
  );
  return { rows, more: (rows[0]?.found ?? 0) > rows.length };
}

/**
 * SQL of the rows of `select`, in order of their column `n`, up to `PAGE_MAX_BYTES`; `found`: how many there would be. The
 * offset keeps the planner from working each column out once for the row and again for its size.
 */
const bounded = (select: string): string => `
  select * from (
    select r.*, count(*) over () as found,
           sum(pg_column_size(r)) over (order by r.n) - pg_column_size(r) as before
      from (${select} offset 0) r
  ) p where before < ${PAGE_MAX_BYTES}`;

export type CatalogueItem<E extends CatalogueEntity> = {
  readonly artist: ArtistSummary;
  readonly album: AlbumSummary;
  readonly track: TrackDetail;
}[E];
