import type { Knex } from "knex";

/**
 * Old names and old ids of the catalogue, in tables of their own: artists, albums and tracks hold nothing but what
 * is there, and a play cannot be filed under what was merged away. See docs/adr/0015.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table artist_aliases (
      name_key text collate "C" not null,
      artist_id bigint not null references artists (id) on delete cascade,
      constraint artist_aliases_pkey primary key (name_key),
      constraint artist_aliases_key_size check (octet_length(name_key) between 1 and 1000)
    );
    create index artist_aliases_artist on artist_aliases (artist_id);
    comment on table artist_aliases is 'Keys that artists had before they were renamed or merged: the old name still finds them.';

    create table album_aliases (
      artist_id bigint not null references artists (id) on delete cascade,
      title_key text collate "C" not null,
      album_id bigint not null references albums (id) on delete cascade,
      constraint album_aliases_pkey primary key (artist_id, title_key),
      constraint album_aliases_key_size check (octet_length(title_key) between 1 and 1000)
    );
    create index album_aliases_album on album_aliases (album_id);
    comment on table album_aliases is 'The same for albums. The artist is part of the old key, and need not be the album''s artist.';

    create table track_aliases (
      artist_id bigint not null references artists (id) on delete cascade,
      title_key text collate "C" not null,
      album_key text collate "C" not null default '',
      track_id bigint not null references tracks (id) on delete cascade,
      constraint track_aliases_pkey primary key (artist_id, title_key, album_key),
      constraint track_aliases_key_size check (octet_length(title_key) between 1 and 1000 and octet_length(album_key) <= 1000)
    );
    create index track_aliases_track on track_aliases (track_id);
    comment on table track_aliases is 'The same for tracks.';

    create table catalogue_merges (
      entity text not null,
      old_id bigint not null,
      into_id bigint not null,
      merged_at timestamptz not null default now(),
      constraint catalogue_merges_pkey primary key (entity, old_id),
      constraint catalogue_merges_known_kind check (entity in ('artist', 'album', 'track')),
      constraint catalogue_merges_not_itself check (into_id <> old_id)
    );
    create index catalogue_merges_into on catalogue_merges (entity, into_id);
    comment on table catalogue_merges is 'Ids that were merged away, and the ids they stand for now. Never a chain: into_id is always there.';
    comment on column catalogue_merges.into_id is 'without a foreign key, for its target depends on entity: whoever merges keeps it true';

    create table popularity_state (
      id smallint not null default 1,
      seen text not null default '',
      pending boolean not null default false,
      finished_at timestamptz,
      took_ms integer not null default 0,
      constraint popularity_state_pkey primary key (id),
      constraint popularity_state_one_row check (id = 1)
    );
    comment on table popularity_state is 'One row: how far the popularity of the catalogue is up to date. See services/catalog/popularity.ts.';
    comment on column popularity_state.seen is 'versions of histories and catalogue, and newest ids, when the last pass began';
    comment on column popularity_state.pending is 'numbers were written that nobody was told of yet';
    comment on column popularity_state.took_ms is 'of the last pass: the next one waits a multiple of it';
    insert into popularity_state default values;

    create index artists_by_popularity on artists (popularity desc, id desc);
    create index albums_by_popularity on albums (popularity desc, id desc);
    create index tracks_by_popularity on tracks (popularity desc, id desc);
    create index albums_by_title on albums (title_key, artist_id);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index albums_by_title, tracks_by_popularity, albums_by_popularity, artists_by_popularity;
    drop table popularity_state, catalogue_merges, track_aliases, album_aliases, artist_aliases;
  `);
}
