/**
 * Which plays a list is of: its filters as conditions on a row `h` of listening_history. They are written for the indexes
 * that a page walks (listeningHistory.ts): names are looked up in subqueries and never joined, and where a filter means
 * few tracks, those are told apart from the conditions.
 */
import type { Values } from "../lists.js";
import type { CatalogueEntity } from "../models/enums.js";

export interface ListenFilters {
  readonly userId: string;
  /** `from <= playedAt < until` */
  readonly from?: Date;
  readonly until?: Date;
  /** Ids, of now or of what was merged away since. */
  readonly artistId?: number;
  readonly trackId?: number;
  readonly albumId?: number;
  /** Normalised names, see services/catalog/keys.ts; former ones find what has another name now. */
  readonly artistKey?: string;
  readonly titleKey?: string;
  /** Families; a play of any of them fits. */
  readonly sources?: readonly string[];
  readonly importId?: string;
  readonly counted?: boolean;
  /** Also plays that are another sighting of one that is in the list. */
  readonly includeDuplicates: boolean;
}

/** Plays heard in a private session are nobody's but their owner's, also where the history is public. */
export const NOT_INCOGNITO = "(h.context -> 'incognito') is distinct from 'true'::jsonb";

export interface Selection {
  /** Conditions on `h`. */
  readonly conditions: readonly string[];
  /** Selects the ids of the only tracks that can fit; null when no filter says so. */
  readonly tracks: string | null;
}

/** `values` are those of the whole statement, and get what the conditions compare with. */
export function selectListens(filters: ListenFilters, hidePrivate: boolean, values: Values): Selection {
  const conditions = [ofUser(filters, values.add(filters.userId))];
  if (hidePrivate) conditions.push(NOT_INCOGNITO);
  const where = (value: unknown, condition: (placeholder: string) => string): void => {
    if (value !== undefined) conditions.push(condition(values.add(value)));
  };
  if (!filters.includeDuplicates) conditions.push("h.duplicate_of is null");
  where(filters.from, (at) => `h.played_at >= ${at}::timestamptz`);
  where(filters.until, (at) => `h.played_at < ${at}::timestamptz`);
  where(filters.artistId, (id) => `h.artist_id = ${standsFor("artist", id)}`);
  where(filters.trackId, (id) => `h.track_id = ${standsFor("track", id)}`);
  where(filters.albumId, (id) => `h.album_id = ${standsFor("album", id)}`);
  // Beside a title it says which tracks are meant.
  if (filters.titleKey === undefined) where(filters.artistKey, (key) => `h.artist_id = ${artistNamed(key)}`);
  where(filters.sources, (families) => `h.source = any (${families}::play_source[])`);
  where(filters.importId, (id) => `h.import_job_id = ${id}::uuid`);
  where(filters.counted, (flag) => `h.counted = ${flag}::boolean`);
  return { conditions, tracks: candidateTracks(filters, values) };
}

/**
 * No index serves a comparison in this second form: it leaves the planner the index of the import alone. In that of
 * the user's plays it would look for the few plays of a small import through all of a long history.
 */
const ofUser = (filters: ListenFilters, userId: string): string =>
  filters.importId !== undefined && !ofOneEntity(filters)
    ? `(h.user_id = ${userId}::uuid) is true`
    : `h.user_id = ${userId}`;

/**
 * Every play on an album has its pair in album_tracks, whoever wrote it. A track that had the title before is meant, too;
 * by title and artist also one that has another artist now: what an import would file under the two.
 */
function candidateTracks({ titleKey, artistKey, albumId }: ListenFilters, values: Values): string | null {
  const onAlbum =
    albumId === undefined
      ? null
      : `select track_id as id from album_tracks where album_id = ${standsFor("album", values.add(albumId))}`;
  if (titleKey === undefined) return onAlbum;
  const ofArtist = artistKey === undefined ? "" : `and artist_id = ${artistNamed(values.add(artistKey))}`;
  const title = values.add(titleKey);
  const named = `select id from tracks where title_key = ${title} ${ofArtist}
                 union select track_id from track_aliases where title_key = ${title} ${ofArtist}`;
  return onAlbum === null ? named : `select id from (${named}) t where id in (${onAlbum})`;
}

/** SQL of an id: the one given, or what that was merged into. Looked up once a statement. */
const standsFor = (entity: CatalogueEntity, id: string): string =>
  `coalesce((select into_id from catalogue_merges where entity = '${entity}' and old_id = ${id}::bigint), ${id}::bigint)`;

/** SQL of the id of the artist that has this name, or had it. No name is both. */
const artistNamed = (key: string): string => `(
  select id from artists where name_key = ${key}
  union all select artist_id from artist_aliases where name_key = ${key} limit 1)`;

/**
 * Plays of one artist, track or import lie together in an index, in order of time. Where their number is guessed too
 * low, as for a listener's favourite, the planner would fetch and sort them all for each page. Under a limit that it
 * cannot see it expects a tenth of them to be wanted, and takes them in order.
 */
export const ofOneRun = (filters: ListenFilters): boolean =>
  filters.importId !== undefined || ofOneEntity(filters);

const ofOneEntity = ({ artistId, artistKey, trackId, albumId, titleKey }: ListenFilters): boolean =>
  [artistId, artistKey, trackId, albumId, titleKey].some((filter) => filter !== undefined);
