/**
 * The rows of a merge: everything that points to the ones that go is pointed to those that stay, and names and ids of
 * those that go become aliases. Set-based, so that an artist's tracks can be merged all at once. Callers hold the locks
 * that merging.ts takes.
 */
import type { ClientBase } from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { looseKey } from "./keys.js";

/** A merge may move the plays of many people. */
export const MERGE_TIMEOUT_MS = 60_000;

/** Who goes and who stays, side by side. Nobody who stays is among those who go. */
export interface Pairs {
  readonly losers: readonly number[];
  readonly survivors: readonly number[];
}

const PAIRS = "unnest($1::bigint[], $2::bigint[]) as p (loser, survivor)";

/** With the patience of the driver as long as that of the server; see MERGE_TIMEOUT_MS. */
async function run(client: ClientBase, text: string, values: readonly unknown[]): Promise<void> {
  const statement = { text, values: [...values], query_timeout: MERGE_TIMEOUT_MS };
  await client.query(statement);
}

/** Plays, places on albums, credits, strong ids, aliases; then the tracks themselves are gone. */
export async function mergeTrackRows(client: ClientBase, { losers, survivors }: Pairs): Promise<void> {
  if (losers.length === 0) return;
  const statements = [
    // What was linked under one name may have to be linked under the other; see services/history/linking/.
    `insert into link_changes (loose_key) select distinct t.loose_key from ${PAIRS} join tracks t on t.id in (loser, survivor)`,
    `update listening_history h set track_id = s.id, artist_id = s.artist_id
       from ${PAIRS} join tracks s on s.id = p.survivor where h.track_id = p.loser`,
    `insert into album_tracks as m (album_id, track_id, disc, position)
     select distinct on (x.album_id, p.survivor) x.album_id, p.survivor, x.disc, x.position
       from ${PAIRS} join album_tracks x on x.track_id = p.loser
      order by x.album_id, p.survivor, x.position nulls last
     on conflict (album_id, track_id) do update set disc = excluded.disc, position = excluded.position
      where m.position is null and excluded.position is not null`,
    // Where only the track's own artist was credited, there was no row; now it needs one beside the others.
    `insert into track_artists (track_id, artist_id, position, role)
     select distinct s.id, s.artist_id, 0, 'main'
       from ${PAIRS} join tracks s on s.id = p.survivor
      where exists (select from track_artists where track_id = p.loser)
        and not exists (select from track_artists where track_id = s.id)
     on conflict do nothing`,
    `insert into track_artists (track_id, artist_id, position, role)
     select p.survivor, c.artist_id, least(c.position + 1, 32767), c.role
       from ${PAIRS} join tracks l on l.id = p.loser join track_artists c on c.track_id = p.loser
      where not (c.role = 'main' and c.artist_id = l.artist_id)
      order by p.survivor, c.artist_id, c.role
     on conflict do nothing`,
    `update track_aliases a set track_id = p.survivor from ${PAIRS} where a.track_id = p.loser`,
    `insert into track_aliases (artist_id, title_key, album_key, track_id)
     select l.artist_id, l.title_key, l.album_key, p.survivor from ${PAIRS} join tracks l on l.id = p.loser
     on conflict (artist_id, title_key, album_key) do update set track_id = excluded.track_id`,
    `update tracks s set popularity = s.popularity + l.popularity, duration_ms = coalesce(s.duration_ms, l.duration_ms),
            isrc = coalesce(s.isrc, l.isrc), version = s.version + 1, updated_at = now()
       from (select p.survivor, sum(t.popularity)::integer as popularity, max(t.duration_ms) as duration_ms,
                    min(t.isrc) as isrc
               from ${PAIRS} join tracks t on t.id = p.loser group by p.survivor) l
      where s.id = l.survivor`,
  ];
  for (const statement of statements) await run(client, statement, [losers, survivors]);
  await handOverIds(client, "track", { losers, survivors });
  await run(client, "delete from tracks where id = any($1::bigint[])", [losers]);
}

/** Plays, tracks, strong ids, aliases; then the albums themselves are gone. */
export async function mergeAlbumRows(client: ClientBase, { losers, survivors }: Pairs): Promise<void> {
  if (losers.length === 0) return;
  const statements = [
    `update listening_history h set album_id = p.survivor from ${PAIRS} where h.album_id = p.loser`,
    `insert into album_tracks as m (album_id, track_id, disc, position)
     select distinct on (p.survivor, x.track_id) p.survivor, x.track_id, x.disc, x.position
       from ${PAIRS} join album_tracks x on x.album_id = p.loser
      order by p.survivor, x.track_id, x.position nulls last
     on conflict (album_id, track_id) do update set disc = excluded.disc, position = excluded.position
      where m.position is null and excluded.position is not null`,
    `update album_aliases a set album_id = p.survivor from ${PAIRS} where a.album_id = p.loser`,
    `insert into album_aliases (artist_id, title_key, album_id)
     select l.artist_id, l.title_key, p.survivor from ${PAIRS} join albums l on l.id = p.loser
     on conflict (artist_id, title_key) do update set album_id = excluded.album_id`,
    `update albums s set popularity = s.popularity + l.popularity,
            release_date = coalesce(s.release_date, l.release_date), version = s.version + 1, updated_at = now()
       from (select p.survivor, sum(b.popularity)::integer as popularity, min(b.release_date) as release_date
               from ${PAIRS} join albums b on b.id = p.loser group by p.survivor) l
      where s.id = l.survivor`,
  ];
  for (const statement of statements) await run(client, statement, [losers, survivors]);
  await handOverIds(client, "album", { losers, survivors });
  await run(client, "delete from albums where id = any($1::bigint[])", [losers]);
}

/**
 * An artist with all that is filed under it. A track or album that the other one has under the same name is merged with
 * that; the rest moves, and plays follow by their foreign key. An alias gives way to a track that comes under its name.
 */
export async function mergeArtistRows(client: ClientBase, loser: number, survivor: number): Promise<void> {
  const both = [loser, survivor];
  await mergeTrackRows(client, await namesakes(client, "tracks", "title_key, album_key", both));
  await moveTracks(client, loser, survivor);
  await mergeAlbumRows(client, await namesakes(client, "albums", "title_key", both));
  const statements = [
    `delete from album_aliases x using albums b
      where x.artist_id = $2 and b.artist_id = $1 and b.title_key = x.title_key`,
    "update albums set artist_id = $2 where artist_id = $1",
    `update track_aliases x set artist_id = $2
      where artist_id = $1
        and not exists (select from tracks t
                         where t.artist_id = $2 and t.title_key = x.title_key and t.album_key = x.album_key)
        and not exists (select from track_aliases y
                         where y.artist_id = $2 and y.title_key = x.title_key and y.album_key = x.album_key)`,
    `update album_aliases x set artist_id = $2
      where artist_id = $1
        and not exists (select from albums b where b.artist_id = $2 and b.title_key = x.title_key)
        and not exists (select from album_aliases y where y.artist_id = $2 and y.title_key = x.title_key)`,
    `insert into track_artists (track_id, artist_id, position, role)
     select track_id, $2::bigint, position, role from track_artists where artist_id = $1 order by track_id, role
     on conflict do nothing`,
    // Who was the guest of the other one is nobody's guest now.
    `delete from track_artists c using track_artists l, track_artists m
      where l.artist_id = $1 and c.track_id = l.track_id and c.artist_id = $2 and c.role = 'featured'
        and m.track_id = l.track_id and m.artist_id = $2 and m.role = 'main'`,
    "update artist_aliases set artist_id = $2 where artist_id = $1",
    "insert into artist_aliases (name_key, artist_id) select name_key, $2::bigint from artists where id = $1",
    `update artists s set popularity = s.popularity + l.popularity, country = coalesce(s.country, l.country),
            version = s.version + 1, updated_at = now()
       from artists l where s.id = $2 and l.id = $1`,
  ];
  for (const statement of statements) await run(client, statement, both);
  await handOverIds(client, "artist", { losers: [loser], survivors: [survivor] });
  await run(client, "delete from track_artists where artist_id = $1", [loser]);
  await run(client, "delete from artists where id = $1", [loser]);
}

/** All of an artist's tracks, or those named, to another one that has none of their names. */
export async function moveTracks(
  client: ClientBase,
  from: number,
  to: number,
  only: readonly number[] | null = null,
): Promise<void> {
  const { rows } = await client.query<{ id: number; title: string; name: string }>(
    `select t.id, t.title, s.name from tracks t cross join artists s
      where t.artist_id = $1 and s.id = $2 and ($3::bigint[] is null or t.id = any($3)) order by t.id`,
    [from, to, only],
  );
  const ids = rows.map(({ id }) => id);
  await run(
    client,
    `delete from track_aliases x using tracks t
      where x.artist_id = $1 and t.id = any($2::bigint[]) and (t.title_key, t.album_key) = (x.title_key, x.album_key)`,
    [to, ids],
  );
  await run(
    client,
    `update tracks t set artist_id = $1, loose_key = w.loose_key
       from unnest($2::bigint[], $3::text[]) as w (id, loose_key) where t.id = w.id`,
    [to, ids, rows.map(({ name, title }) => looseKey(name, title))],
  );
}

/** What two artists have under the same name. */
async function namesakes(
  client: ClientBase,
  table: "tracks" | "albums",
  key: string,
  artists: readonly number[],
): Promise<Pairs> {
  const { rows } = await client.query<{ loser: number; survivor: number }>(
    `select l.id as loser, s.id as survivor
       from (select id, ${key} from ${table} where artist_id = $1) l
       join (select id, ${key} from ${table} where artist_id = $2) s using (${key})
      order by l.id`,
    [...artists],
  );
  return { losers: rows.map(({ loser }) => loser), survivors: rows.map(({ survivor }) => survivor) };
}

/** Strong ids, and the ids that earlier merges and this one leave behind. */
async function handOverIds(client: ClientBase, entity: CatalogueEntity, pairs: Pairs): Promise<void> {
  const statements = [
    `update external_ids e set entity_id = p.survivor from ${PAIRS} where e.entity = $3 and e.entity_id = p.loser`,
    `update catalogue_merges m set into_id = p.survivor from ${PAIRS} where m.entity = $3 and m.into_id = p.loser`,
    `insert into catalogue_merges (entity, old_id, into_id) select $3::text, p.loser, p.survivor from ${PAIRS}`,
  ];
  for (const statement of statements) await run(client, statement, [pairs.losers, pairs.survivors, entity]);
}
