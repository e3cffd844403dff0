import type { Knex } from "knex";

/**
 * Keys are normalised in TypeScript and compared by bytes: collate "C" keeps uniqueness and order the same on
 * every server, whatever its locale. Their sizes are bounded because a btree entry may have 2,704 bytes.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table artists (
      id bigint generated always as identity primary key,
      name text not null,
      name_key text collate "C" not null,
      country char(2),
      popularity integer not null default 0,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint artists_once unique (name_key),
      constraint artists_key_size check (octet_length(name_key) between 1 and 1000),
      constraint artists_country_code check (country ~ '^[A-Z]{2}$')
    );
    comment on table artists is 'Shared catalogue. An artist is its normalised name.';
    comment on column artists.name is 'as the first source gave it';
    comment on column artists.name_key is 'normalised by services/catalog/keys.ts, at most 1000 bytes, never empty';
    comment on column artists.popularity is 'counted plays; refreshed set-based, never by a single play';

    create table albums (
      id bigint generated always as identity primary key,
      artist_id bigint not null references artists (id),
      title text not null,
      title_key text collate "C" not null,
      release_date text,
      popularity integer not null default 0,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint albums_once unique (artist_id, title_key),
      constraint albums_key_size check (octet_length(title_key) between 1 and 1000),
      constraint albums_release_date_form check (release_date ~ '^[0-9]{4}(-[0-9]{2}){0,2}$')
    );
    comment on table albums is 'Shared catalogue. An album is its artist and normalised title.';
    comment on column albums.release_date is 'YYYY, YYYY-MM or YYYY-MM-DD: as exactly as a source knows it';

    create table tracks (
      id bigint generated always as identity primary key,
      artist_id bigint not null references artists (id),
      title text not null,
      title_key text collate "C" not null,
      album_key text collate "C" not null default '',
      loose_key text collate "C" not null,
      duration_ms integer,
      isrc text,
      popularity integer not null default 0,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint tracks_once unique (title_key, artist_id, album_key),
      constraint tracks_of_artist unique (artist_id, id),
      constraint tracks_key_size check (octet_length(title_key) between 1 and 1000 and octet_length(album_key) <= 1000),
      constraint tracks_loose_key_size check (octet_length(loose_key) <= 2400),
      constraint tracks_duration_positive check (duration_ms > 0)
    );
    create index tracks_loose_key on tracks (loose_key);
    comment on table tracks is 'Shared catalogue. A track is its artist and normalised title; the album is an attribute of the play.';
    comment on column tracks.album_key is 'empty, except for the reserved artist [unknown], whose tracks are told apart by album too';
    comment on column tracks.loose_key is 'coarser key of artist and title, for finding re-sightings and merge proposals; never identity';
    comment on constraint tracks_of_artist on tracks is 'target of listening_history (track_id, artist_id): one check covers both; its index finds the tracks of an artist';
    comment on constraint tracks_once on tracks is 'title first: its index also finds tracks by title alone, and lists them by name';

    create table album_tracks (
      album_id bigint not null references albums (id) on delete cascade,
      track_id bigint not null references tracks (id) on delete cascade,
      disc smallint,
      position smallint,
      constraint album_tracks_once primary key (album_id, track_id)
    );
    create index album_tracks_track on album_tracks (track_id);
    comment on table album_tracks is 'Which tracks an album has; disc and position where a source told them.';

    create table track_artists (
      track_id bigint not null references tracks (id) on delete cascade,
      artist_id bigint not null references artists (id),
      position smallint not null,
      role text not null default 'main',
      constraint track_artists_once primary key (track_id, artist_id, role),
      constraint track_artists_known_role check (role in ('main', 'featured', 'remixer', 'producer', 'composer', 'lyricist', 'conductor', 'performer'))
    );
    create index track_artists_artist on track_artists (artist_id);
    comment on table track_artists is 'Credits, where a source lists them. No row: the track''s own artist is the only credit.';

    create table external_ids (
      entity text not null,
      provider text not null,
      external_id text collate "C" not null,
      entity_id bigint not null,
      created_at timestamptz not null default now(),
      constraint external_ids_once primary key (entity, provider, external_id),
      constraint external_ids_known_entity check (entity in ('artist', 'album', 'track')),
      constraint external_ids_known_provider check (provider in ('spotify', 'apple', 'youtube', 'musicbrainz', 'isrc')),
      constraint external_ids_size check (octet_length(external_id) between 1 and 1000)
    );
    create index external_ids_entity on external_ids (entity, entity_id);
    create function forget_external_ids() returns trigger language plpgsql as $$
      begin
        delete from external_ids e using gone where e.entity = tg_argv[0] and e.entity_id = gone.id;
        return null;
      end
    $$;
    comment on function forget_external_ids is
      'external_ids can have no foreign key, its target depends on entity; this keeps ids from pointing nowhere';
    create trigger artists_gone after delete on artists referencing old table as gone
      for each statement execute function forget_external_ids('artist');
    create trigger albums_gone after delete on albums referencing old table as gone
      for each statement execute function forget_external_ids('album');
    create trigger tracks_gone after delete on tracks referencing old table as gone
      for each statement execute function forget_external_ids('track');
    comment on table external_ids is 'Strong ids (Spotify URI, ISRC, MBID ...). A known one decides identity before any text does.';

    insert into artists (name, name_key) values ('[unknown]', '[unknown]');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table external_ids, track_artists, album_tracks, tracks, albums, artists;
    drop function forget_external_ids();
  `);
}
