import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create type play_source as enum (
      'manual', 'spotify-extended', 'spotify-account', 'spotify-live',
      'apple-export', 'apple-daily', 'apple-live', 'youtube-json', 'youtube-html',
      'listenbrainz', 'lastfm', 'lastfm-minute', 'maloja', 'koito', 'playlog'
    );
    create type time_precision as enum ('second', 'minute', 'day', 'inferred');

    create table listening_history (
      id bigint generated always as identity,
      user_id uuid not null,
      track_id bigint not null,
      artist_id bigint not null,
      album_id bigint,
      played_at timestamptz not null,
      ended_at timestamptz,
      start_earliest timestamptz not null,
      start_latest timestamptz not null,
      ms_played integer,
      duration_ms integer,
      precision time_precision not null,
      source play_source not null,
      counted boolean not null,
      source_key bytea not null,
      import_job_id uuid,
      duplicate_of bigint,
      context jsonb,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint listening_history_pkey primary key (id),
      constraint plays_once unique (user_id, source_key),
      constraint plays_user foreign key (user_id) references users (id) on delete cascade,
      constraint plays_track foreign key (track_id, artist_id) references tracks (id, artist_id) on update cascade,
      constraint plays_album foreign key (album_id) references albums (id) on delete set null,
      constraint plays_duplicate_of foreign key (duplicate_of) references listening_history (id) on delete set null,
      constraint plays_key_size check (octet_length(source_key) = 16),
      constraint plays_ms_not_negative check (ms_played >= 0),
      constraint plays_start_range check (start_earliest <= start_latest),
      constraint plays_not_own_duplicate check (duplicate_of <> id)
    );
    create index plays_by_time on listening_history (user_id, played_at desc, id desc);
    create index plays_by_track on listening_history (track_id, user_id, played_at desc);
    create index plays_by_artist on listening_history (artist_id, user_id, played_at desc);
    create index plays_by_album on listening_history (album_id, user_id, played_at desc) where album_id is not null;
    create index plays_linked on listening_history (duplicate_of) where duplicate_of is not null;

    comment on table listening_history is 'One row per play as one source saw it. Several sightings of one play are linked by duplicate_of, never deleted.';
    comment on column listening_history.played_at is 'start of the play, UTC';
    comment on column listening_history.start_earliest is 'with start_latest: the range the start can lie in, by what the source''s precision allows';
    comment on column listening_history.ms_played is 'milliseconds of audio played; null where the source does not say';
    comment on column listening_history.duration_ms is 'length of the recording as this row''s own source gives it';
    comment on column listening_history.counted is 'counts as a listen, by services/history/listenRule.ts from this row alone';
    comment on column listening_history.source_key is 'identity of the source row, see services/history/sourceKey.ts; frozen for ever';
    comment on column listening_history.import_job_id is 'the import that brought the row; no foreign key, undo keeps it true';
    comment on column listening_history.duplicate_of is 'leading sighting of the same play; null for the leader';
    comment on column listening_history.context is 'what else the source knows (platform, country, reasons, shuffle ...); no IP, user agent or account name';

    create table deleted_plays (
      user_id uuid not null references users (id) on delete cascade,
      source_key bytea not null,
      source play_source not null,
      loose_key text collate "C" not null,
      start_earliest timestamptz not null,
      start_latest timestamptz not null,
      end_earliest timestamptz,
      end_latest timestamptz,
      deleted_at timestamptz not null default now(),
      constraint deleted_plays_once primary key (user_id, source_key),
      constraint deleted_plays_key_size check (octet_length(source_key) = 16),
      constraint deleted_plays_loose_key_size check (octet_length(loose_key) <= 2400),
      constraint deleted_plays_start_range check (start_earliest <= start_latest),
      constraint deleted_plays_end_range check (
        (end_earliest is null) = (end_latest is null) and (end_earliest is null or end_earliest <= end_latest)
      )
    );
    create index deleted_plays_loose on deleted_plays (user_id, loose_key, start_earliest);
    comment on table deleted_plays is 'Plays their owner deleted. An import that brings one again, or another sighting of it, adds nothing.';
    comment on column deleted_plays.loose_key is 'of the track as it was when the play was deleted: with the ranges, what another sighting is recognised by';
    comment on column deleted_plays.end_earliest is 'with end_latest: the range the end can lie in; null where the source told no end';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table deleted_plays, listening_history;
    drop type time_precision;
    drop type play_source;
  `);
}
