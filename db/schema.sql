-- The schema after all migrations, written by `npm run schema:dump`. Do not edit: write a migration.

create type import_status as enum (
  'queued',
  'running',
  'paused',
  'cancelling',
  'cancelled',
  'completed',
  'completed_with_errors',
  'failed',
  'undoing',
  'undone'
);

create type part_status as enum (
  'queued',
  'running',
  'done',
  'skipped',
  'failed'
);

create type play_source as enum (
  'manual',
  'spotify-extended',
  'spotify-account',
  'spotify-live',
  'apple-export',
  'apple-daily',
  'apple-live',
  'youtube-json',
  'youtube-html',
  'listenbrainz',
  'lastfm',
  'lastfm-minute',
  'maloja',
  'koito',
  'playlog'
);

create type time_precision as enum (
  'second',
  'minute',
  'day',
  'inferred'
);

create type user_role as enum (
  'user',
  'editor',
  'admin'
);

create type visibility as enum (
  'public',
  'private'
);

CREATE OR REPLACE FUNCTION public.account_changed()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      perform announce_change('account', new.id);
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.account_gone()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      perform announce_change(topic, old.id) from unnest(array['account', 'history']) as topic;
      delete from cache_versions where owner = old.id;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.announce_change(changed_topic text, changed_owner uuid)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
    declare
      -- A clock, so that a database put back from a backup never gives a version a second meaning.
      stamp bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
    begin
      insert into cache_versions as v (topic, owner, version) values (changed_topic, changed_owner, stamp)
      on conflict (topic, owner) do update set version = greatest(v.version + 1, excluded.version)
      returning v.version into stamp;
      perform pg_notify('playlog_changed', concat_ws(' ', changed_topic, changed_owner, stamp));
    end $function$;

CREATE OR REPLACE FUNCTION public.api_token_ended()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      perform announce_change('account', id) from users where id = old.user_id; -- else it goes with its account
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.forget_external_ids()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
      begin
        delete from external_ids e using gone where e.entity = tg_argv[0] and e.entity_id = gone.id;
        return null;
      end
    $function$;

CREATE OR REPLACE FUNCTION public.note_alias()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    declare
      -- The rows are of three tables; what they have in common is read by name.
      alias jsonb := to_jsonb(coalesce(new, old));
    begin
      insert into search_changes (entity, ids, renamed)
      values (tg_argv[0], array[(alias ->> (tg_argv[0] || '_id'))::bigint], true);
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.note_artist_update()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      insert into search_changes (entity, ids, renamed)
      select 'artist', array_agg(id), renamed
        from (select id, renamed, (row_number() over () - 1) / 5000 as piece
                from (select id, false as renamed from (
                        select id, popularity from after_change except select id, popularity from before_change) c
                      union all
                      select id, true from (
                        select id, name from after_change except select id, name from before_change) c) u) p
       group by piece, renamed;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.note_catalogue_delete()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      insert into search_changes (entity, ids, renamed)
      select tg_argv[0], array_agg(id), false
        from (select id, (row_number() over () - 1) / 5000 as piece from gone) g group by piece;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.note_catalogue_insert()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      insert into search_changes (entity, ids, renamed)
      select tg_argv[0], array_agg(id), false
        from (select id, (row_number() over () - 1) / 5000 as piece from added) a group by piece;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.note_moved_plays()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      insert into stats_moves (user_id)
      select distinct n.user_id from plays_then o join plays_now n using (id)
       where (o.artist_id, o.track_id) is distinct from (n.artist_id, n.track_id) or o.album_id is distinct from n.album_id;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.note_rekeyed_track()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      insert into link_changes (loose_key) values (old.loose_key), (new.loose_key);
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.note_title_update()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      insert into search_changes (entity, ids, renamed)
      select tg_argv[0], array_agg(id), false
        from (select id, (row_number() over () - 1) / 5000 as piece
                from (select id, title, artist_id, popularity from after_change
                      except select id, title, artist_id, popularity from before_change) c) p
       group by piece;
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.session_deleted()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      perform announce_change('account', id) from users where id = old.user_id; -- else it goes with its account
      return null;
    end $function$;

CREATE OR REPLACE FUNCTION public.session_revoked()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
    begin
      perform pg_notify('playlog_session_revoked', new.id::text);
      return null;
    end $function$;

create table album_aliases (
  artist_id bigint not null,
  title_key text collate "C" not null,
  album_id bigint not null,
  constraint album_aliases_pkey PRIMARY KEY (artist_id, title_key),
  constraint album_aliases_key_size CHECK (((octet_length(title_key) >= 1) AND (octet_length(title_key) <= 1000))),
  constraint album_aliases_album_id_fkey FOREIGN KEY (album_id) REFERENCES albums(id) ON DELETE CASCADE,
  constraint album_aliases_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists(id) ON DELETE CASCADE
);

create table album_tracks (
  album_id bigint not null,
  track_id bigint not null,
  disc smallint,
  "position" smallint,
  constraint album_tracks_once PRIMARY KEY (album_id, track_id),
  constraint album_tracks_album_id_fkey FOREIGN KEY (album_id) REFERENCES albums(id) ON DELETE CASCADE,
  constraint album_tracks_track_id_fkey FOREIGN KEY (track_id) REFERENCES tracks(id) ON DELETE CASCADE
);

create table albums (
  id bigint generated always as identity not null,
  artist_id bigint not null,
  title text not null,
  title_key text collate "C" not null,
  release_date text,
  popularity integer default 0 not null,
  version integer default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  constraint albums_pkey PRIMARY KEY (id),
  constraint albums_once UNIQUE (artist_id, title_key),
  constraint albums_key_size CHECK (((octet_length(title_key) >= 1) AND (octet_length(title_key) <= 1000))),
  constraint albums_release_date_form CHECK ((release_date ~ '^[0-9]{4}(-[0-9]{2}){0,2}$'::text)),
  constraint albums_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists(id)
);

create table api_tokens (
  id uuid not null,
  user_id uuid not null,
  name text not null,
  token_hash bytea not null,
  scopes text[] not null,
  last_used_at timestamp with time zone,
  expires_at timestamp with time zone,
  created_at timestamp with time zone default now() not null,
  revoked_at timestamp with time zone,
  constraint api_tokens_pkey PRIMARY KEY (id),
  constraint api_tokens_hash_once UNIQUE (token_hash),
  constraint api_tokens_known_scopes CHECK (((scopes <@ ARRAY['read'::text, 'write'::text, 'import'::text, 'admin'::text]) AND (cardinality(scopes) > 0))),
  constraint api_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table artist_aliases (
  name_key text collate "C" not null,
  artist_id bigint not null,
  constraint artist_aliases_pkey PRIMARY KEY (name_key),
  constraint artist_aliases_key_size CHECK (((octet_length(name_key) >= 1) AND (octet_length(name_key) <= 1000))),
  constraint artist_aliases_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists(id) ON DELETE CASCADE
);

create table artists (
  id bigint generated always as identity not null,
  name text not null,
  name_key text collate "C" not null,
  country character(2),
  popularity integer default 0 not null,
  version integer default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  constraint artists_pkey PRIMARY KEY (id),
  constraint artists_once UNIQUE (name_key),
  constraint artists_country_code CHECK ((country ~ '^[A-Z]{2}$'::text)),
  constraint artists_key_size CHECK (((octet_length(name_key) >= 1) AND (octet_length(name_key) <= 1000)))
);

create table cache_versions (
  topic text not null,
  owner uuid not null,
  version bigint not null,
  constraint cache_versions_pkey PRIMARY KEY (topic, owner)
) with (fillfactor=50);

create table catalogue_merges (
  entity text not null,
  old_id bigint not null,
  into_id bigint not null,
  merged_at timestamp with time zone default now() not null,
  constraint catalogue_merges_pkey PRIMARY KEY (entity, old_id),
  constraint catalogue_merges_known_kind CHECK ((entity = ANY (ARRAY['artist'::text, 'album'::text, 'track'::text]))),
  constraint catalogue_merges_not_itself CHECK ((into_id <> old_id))
);

create table connections (
  id uuid not null,
  user_id uuid not null,
  provider text not null,
  account text not null,
  status text default 'active'::text not null,
  access_token bytea,
  refresh_token bytea,
  token_key_id text,
  token_expires_at timestamp with time zone,
  sync_cursor jsonb,
  every_minutes integer default 60 not null,
  paused boolean default false not null,
  version integer default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  proven boolean default false not null,
  refusals smallint default 0 not null,
  refused_since timestamp with time zone,
  scheduled text,
  constraint connections_pkey PRIMARY KEY (id),
  constraint connections_once UNIQUE (user_id, provider, account),
  constraint connections_interval CHECK (((every_minutes >= 1) AND (every_minutes <= 44640))),
  constraint connections_known_provider CHECK ((provider = ANY (ARRAY['spotify'::text, 'apple'::text, 'youtube'::text, 'listenbrainz'::text, 'lastfm'::text]))),
  constraint connections_known_status CHECK ((status = ANY (ARRAY['active'::text, 'needs_reauth'::text, 'paused'::text, 'unavailable'::text]))),
  constraint connections_refusals CHECK (((refusals >= 0) AND ((refusals = 0) = (refused_since IS NULL)))),
  constraint connections_token_has_key CHECK (((token_key_id IS NOT NULL) OR ((access_token IS NULL) AND (refresh_token IS NULL)))),
  constraint connections_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table deleted_plays (
  user_id uuid not null,
  source_key bytea not null,
  source play_source not null,
  loose_key text collate "C" not null,
  start_earliest timestamp with time zone not null,
  start_latest timestamp with time zone not null,
  end_earliest timestamp with time zone,
  end_latest timestamp with time zone,
  deleted_at timestamp with time zone default now() not null,
  constraint deleted_plays_once PRIMARY KEY (user_id, source_key),
  constraint deleted_plays_end_range CHECK ((((end_earliest IS NULL) = (end_latest IS NULL)) AND ((end_earliest IS NULL) OR (end_earliest <= end_latest)))),
  constraint deleted_plays_key_size CHECK ((octet_length(source_key) = 16)),
  constraint deleted_plays_loose_key_size CHECK ((octet_length(loose_key) <= 2400)),
  constraint deleted_plays_start_range CHECK ((start_earliest <= start_latest)),
  constraint deleted_plays_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table external_ids (
  entity text not null,
  provider text not null,
  external_id text collate "C" not null,
  entity_id bigint not null,
  created_at timestamp with time zone default now() not null,
  constraint external_ids_once PRIMARY KEY (entity, provider, external_id),
  constraint external_ids_known_entity CHECK ((entity = ANY (ARRAY['artist'::text, 'album'::text, 'track'::text]))),
  constraint external_ids_known_provider CHECK ((provider = ANY (ARRAY['spotify'::text, 'apple'::text, 'youtube'::text, 'musicbrainz'::text, 'isrc'::text]))),
  constraint external_ids_size CHECK (((octet_length(external_id) >= 1) AND (octet_length(external_id) <= 1000)))
);

create table idempotency_keys (
  user_id uuid not null,
  key text not null,
  request_hash bytea not null,
  response_status smallint,
  response_headers json,
  response_body json,
  created_at timestamp with time zone default now() not null,
  constraint idempotency_keys_once PRIMARY KEY (user_id, key),
  constraint idempotency_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table import_batches (
  job_id uuid not null,
  part_no integer not null,
  batch_no integer not null,
  read integer not null,
  inserted integer not null,
  duplicate integer not null,
  skipped integer not null,
  rejected integer not null,
  reasons jsonb not null,
  claimed_ids bigint[] not null,
  claimed_positions integer[] not null,
  claimed_reasons smallint[] not null,
  skipped_positions integer[] not null,
  skipped_reasons smallint[] not null,
  committed_at timestamp with time zone default now() not null,
  first_position integer not null,
  claimed_from bigint,
  claimed_to bigint,
  constraint import_batches_pkey PRIMARY KEY (job_id, part_no, batch_no),
  constraint import_batches_add_up CHECK ((read = (((inserted + duplicate) + skipped) + rejected))),
  constraint import_batches_every_row_listed CHECK (((cardinality(claimed_ids) = (inserted + duplicate)) AND (cardinality(claimed_positions) = (inserted + duplicate)) AND (cardinality(claimed_reasons) = (inserted + duplicate)) AND (cardinality(skipped_positions) = skipped) AND (cardinality(skipped_reasons) = skipped))),
  constraint import_batches_not_negative CHECK ((LEAST(inserted, duplicate, skipped, rejected) >= 0)),
  constraint import_batches_part FOREIGN KEY (job_id, part_no) REFERENCES import_parts(job_id, part_no) ON DELETE CASCADE
);

create table import_dry_keys (
  job_id uuid not null,
  source_key bytea not null,
  constraint import_dry_keys_pkey PRIMARY KEY (job_id, source_key),
  constraint import_dry_keys_job_id_fkey FOREIGN KEY (job_id) REFERENCES import_jobs(id) ON DELETE CASCADE
);

create table import_jobs (
  id uuid not null,
  user_id uuid not null,
  connection_id uuid,
  kind text not null,
  status import_status default 'queued'::import_status not null,
  source text,
  sources text[] default '{}'::text[] not null,
  filename text,
  size_bytes bigint,
  sha256 bytea,
  blob_key text,
  dry_run boolean default false not null,
  options jsonb default '{}'::jsonb not null,
  options_hash bytea not null,
  batch_rows integer not null,
  parser_version integer,
  attempt integer default 1 not null,
  workflow_id text not null,
  waiting_reason text,
  waiting_until timestamp with time zone,
  error_code text,
  error_message text,
  totals jsonb,
  version bigint default 1 not null,
  start_attempts integer default 0 not null,
  next_start_at timestamp with time zone,
  created_at timestamp with time zone default now() not null,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  blob_delete_after timestamp with time zone,
  parked_at timestamp with time zone,
  link_pending boolean default false not null,
  constraint import_jobs_pkey PRIMARY KEY (id),
  constraint import_jobs_workflow_once UNIQUE (workflow_id),
  constraint import_jobs_attempt CHECK ((attempt >= 1)),
  constraint import_jobs_batch_rows CHECK ((batch_rows >= 1)),
  constraint import_jobs_file_has_upload CHECK (((kind <> 'file'::text) OR ((size_bytes IS NOT NULL) AND (sha256 IS NOT NULL)))),
  constraint import_jobs_hash_size CHECK ((octet_length(sha256) = 32)),
  constraint import_jobs_known_kind CHECK ((kind = ANY (ARRAY['file'::text, 'sync'::text]))),
  constraint import_jobs_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES connections(id) ON DELETE SET NULL,
  constraint import_jobs_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table import_parts (
  job_id uuid not null,
  part_no integer not null,
  name text not null,
  format text,
  status part_status default 'queued'::part_status not null,
  bytes_total bigint default 0 not null,
  bytes_read bigint default 0 not null,
  error_code text,
  error_message text,
  read integer default 0 not null,
  inserted integer default 0 not null,
  duplicate integer default 0 not null,
  skipped integer default 0 not null,
  rejected integer default 0 not null,
  linked integer default 0 not null,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  lost_attempts integer default 0 not null,
  constraint import_parts_pkey PRIMARY KEY (job_id, part_no),
  constraint import_parts_add_up CHECK ((read = (((inserted + duplicate) + skipped) + rejected))),
  constraint import_parts_linked_of_inserted CHECK ((linked <= inserted)),
  constraint import_parts_lost_attempts CHECK ((lost_attempts >= 0)),
  constraint import_parts_not_negative CHECK ((LEAST(inserted, duplicate, skipped, rejected, linked) >= 0)),
  constraint import_parts_job_id_fkey FOREIGN KEY (job_id) REFERENCES import_jobs(id) ON DELETE CASCADE
);

create table import_rows (
  job_id uuid not null,
  part_no integer not null,
  "position" integer not null,
  verdict text not null,
  reason text not null,
  message text not null,
  excerpt text,
  constraint import_rows_pkey PRIMARY KEY (job_id, part_no, "position"),
  constraint import_rows_known_verdict CHECK ((verdict = ANY (ARRAY['skipped'::text, 'rejected'::text]))),
  constraint import_rows_part FOREIGN KEY (job_id, part_no) REFERENCES import_parts(job_id, part_no) ON DELETE CASCADE
);

create table invites (
  id uuid not null,
  code_hash bytea not null,
  created_at timestamp with time zone default now() not null,
  expires_at timestamp with time zone not null,
  used_at timestamp with time zone,
  constraint invites_pkey PRIMARY KEY (id),
  constraint invites_code_once UNIQUE (code_hash)
);

create table link_changes (
  id bigint generated always as identity not null,
  loose_key text collate "C" not null,
  constraint link_changes_pkey PRIMARY KEY (id),
  constraint link_changes_key_size CHECK ((octet_length(loose_key) <= 2400))
);

create table listening_history (
  id bigint generated always as identity not null,
  user_id uuid not null,
  track_id bigint not null,
  artist_id bigint not null,
  album_id bigint,
  played_at timestamp with time zone not null,
  ended_at timestamp with time zone,
  start_earliest timestamp with time zone not null,
  start_latest timestamp with time zone not null,
  ms_played integer,
  duration_ms integer,
  "precision" time_precision not null,
  source play_source not null,
  counted boolean not null,
  source_key bytea not null,
  import_job_id uuid,
  duplicate_of bigint,
  context jsonb,
  version integer default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  constraint listening_history_pkey PRIMARY KEY (id),
  constraint plays_once UNIQUE (user_id, source_key),
  constraint plays_key_size CHECK ((octet_length(source_key) = 16)),
  constraint plays_ms_not_negative CHECK ((ms_played >= 0)),
  constraint plays_not_own_duplicate CHECK ((duplicate_of <> id)),
  constraint plays_start_range CHECK ((start_earliest <= start_latest)),
  constraint plays_album FOREIGN KEY (album_id) REFERENCES albums(id) ON DELETE SET NULL,
  constraint plays_duplicate_of FOREIGN KEY (duplicate_of) REFERENCES listening_history(id) ON DELETE SET NULL,
  constraint plays_track FOREIGN KEY (track_id, artist_id) REFERENCES tracks(id, artist_id) ON UPDATE CASCADE,
  constraint plays_user FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table oauth_states (
  state_hash bytea not null,
  user_id uuid not null,
  session_id uuid not null,
  provider text not null,
  verifier bytea not null,
  verifier_key_id text not null,
  created_at timestamp with time zone default now() not null,
  constraint oauth_states_pkey PRIMARY KEY (state_hash),
  constraint oauth_states_known_provider CHECK ((provider = ANY (ARRAY['spotify'::text, 'youtube'::text]))),
  constraint oauth_states_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE,
  constraint oauth_states_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table play_link_overrides (
  user_id uuid not null,
  first_key bytea not null,
  second_key bytea not null,
  created_at timestamp with time zone default now() not null,
  constraint play_link_overrides_once PRIMARY KEY (user_id, first_key, second_key),
  constraint play_link_overrides_key_size CHECK (((octet_length(first_key) = 16) AND (octet_length(second_key) = 16))),
  constraint play_link_overrides_ordered CHECK ((first_key < second_key)),
  constraint play_link_overrides_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table popularity_state (
  id smallint default 1 not null,
  seen text default ''::text not null,
  pending boolean default false not null,
  finished_at timestamp with time zone,
  took_ms integer default 0 not null,
  constraint popularity_state_pkey PRIMARY KEY (id),
  constraint popularity_state_one_row CHECK ((id = 1))
);

create table search_changes (
  id bigint generated always as identity not null,
  entity text not null,
  ids bigint[] not null,
  renamed boolean not null,
  constraint search_changes_pkey PRIMARY KEY (id),
  constraint search_changes_known_entity CHECK ((entity = ANY (ARRAY['artist'::text, 'album'::text, 'track'::text])))
);

create table search_documents (
  entity text collate "C" not null,
  entity_id bigint not null,
  name text collate "C" not null,
  words tsvector not null,
  popularity integer not null,
  tier smallint not null,
  constraint search_documents_pkey PRIMARY KEY (entity_id, entity),
  constraint search_documents_known_entity CHECK ((entity = ANY (ARRAY['artist'::text, 'album'::text, 'track'::text]))),
  constraint search_documents_known_tier CHECK (((tier >= 0) AND (tier <= 2)))
) with (fillfactor=85);

create table search_tiers (
  tier smallint not null,
  min_popularity integer not null,
  max_id bigint not null,
  constraint search_tiers_pkey PRIMARY KEY (tier),
  constraint search_tiers_known_tier CHECK (((tier >= 0) AND (tier <= 1)))
);

create table search_words (
  word text collate "C" not null,
  documents integer not null,
  near integer[] not null,
  constraint search_words_pkey PRIMARY KEY (word)
) with (fillfactor=50);

create table sessions (
  id uuid not null,
  user_id uuid not null,
  refresh_counter integer default 0 not null,
  refresh_key bytea not null,
  rotated_at timestamp with time zone default now() not null,
  user_agent text,
  created_at timestamp with time zone default now() not null,
  last_used_at timestamp with time zone default now() not null,
  expires_at timestamp with time zone not null,
  revoked_at timestamp with time zone,
  revoked_reason text,
  constraint sessions_pkey PRIMARY KEY (id),
  constraint sessions_counter_not_negative CHECK ((refresh_counter >= 0)),
  constraint sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table stats_moves (
  id bigint generated always as identity not null,
  user_id uuid not null,
  constraint stats_moves_pkey PRIMARY KEY (id),
  constraint stats_moves_user FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table stats_users (
  user_id uuid not null,
  history_version bigint not null,
  time_zone text not null,
  build bigint not null,
  built_at timestamp with time zone not null,
  build_ms integer not null,
  constraint stats_users_pkey PRIMARY KEY (user_id),
  constraint stats_users_build_positive CHECK (((build > 0) AND (build_ms >= 0))),
  constraint stats_users_user FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table stats_years (
  user_id uuid not null,
  year smallint not null,
  fingerprint bigint not null,
  first_at timestamp with time zone not null,
  last_at timestamp with time zone not null,
  plays integer not null,
  ms_played bigint not null,
  private integer not null,
  artist_ids bigint[] not null,
  artist_plays integer[] not null,
  artist_ms bigint[] not null,
  album_ids bigint[] not null,
  album_plays integer[] not null,
  album_ms bigint[] not null,
  track_ids bigint[] not null,
  track_plays integer[] not null,
  track_ms bigint[] not null,
  days integer[] not null,
  day_plays integer[] not null,
  day_ms bigint[] not null,
  hours integer[] not null,
  hour_plays integer[] not null,
  hour_ms bigint[] not null,
  constraint stats_years_pkey PRIMARY KEY (user_id, year),
  constraint stats_years_album_lists CHECK (((cardinality(album_plays) = cardinality(album_ids)) AND (cardinality(album_ms) = cardinality(album_ids)))),
  constraint stats_years_artist_lists CHECK (((cardinality(artist_plays) = cardinality(artist_ids)) AND (cardinality(artist_ms) = cardinality(artist_ids)))),
  constraint stats_years_day_lists CHECK (((cardinality(day_plays) = cardinality(days)) AND (cardinality(day_ms) = cardinality(days)))),
  constraint stats_years_hour_lists CHECK (((cardinality(hour_plays) = cardinality(hours)) AND (cardinality(hour_ms) = cardinality(hours)))),
  constraint stats_years_not_empty CHECK (((plays > 0) AND (first_at <= last_at) AND ((private >= 0) AND (private <= plays)))),
  constraint stats_years_track_lists CHECK (((cardinality(track_plays) = cardinality(track_ids)) AND (cardinality(track_ms) = cardinality(track_ids)))),
  constraint stats_years_year_range CHECK (((year >= 0) AND (year <= 9999))),
  constraint stats_years_user FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE
);

create table sync_gaps (
  connection_id uuid not null,
  gap_from timestamp with time zone not null,
  gap_until timestamp with time zone not null,
  noted_at timestamp with time zone default now() not null,
  constraint sync_gaps_pkey PRIMARY KEY (connection_id, gap_from),
  constraint sync_gaps_not_empty CHECK ((gap_from < gap_until)),
  constraint sync_gaps_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES connections(id) ON DELETE CASCADE
);

create table sync_runs (
  job_id uuid not null,
  polled_at timestamp with time zone,
  failures integer default 0 not null,
  pages integer default 0 not null,
  cursor jsonb,
  constraint sync_runs_pkey PRIMARY KEY (job_id),
  constraint sync_runs_not_negative CHECK ((LEAST(failures, pages) >= 0)),
  constraint sync_runs_job_id_fkey FOREIGN KEY (job_id) REFERENCES import_jobs(id) ON DELETE CASCADE
);

create table track_aliases (
  artist_id bigint not null,
  title_key text collate "C" not null,
  album_key text collate "C" default ''::text not null,
  track_id bigint not null,
  constraint track_aliases_pkey PRIMARY KEY (artist_id, title_key, album_key),
  constraint track_aliases_key_size CHECK ((((octet_length(title_key) >= 1) AND (octet_length(title_key) <= 1000)) AND (octet_length(album_key) <= 1000))),
  constraint track_aliases_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists(id) ON DELETE CASCADE,
  constraint track_aliases_track_id_fkey FOREIGN KEY (track_id) REFERENCES tracks(id) ON DELETE CASCADE
);

create table track_artists (
  track_id bigint not null,
  artist_id bigint not null,
  "position" smallint not null,
  role text default 'main'::text not null,
  constraint track_artists_once PRIMARY KEY (track_id, artist_id, role),
  constraint track_artists_known_role CHECK ((role = ANY (ARRAY['main'::text, 'featured'::text, 'remixer'::text, 'producer'::text, 'composer'::text, 'lyricist'::text, 'conductor'::text, 'performer'::text]))),
  constraint track_artists_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists(id),
  constraint track_artists_track_id_fkey FOREIGN KEY (track_id) REFERENCES tracks(id) ON DELETE CASCADE
);

create table tracks (
  id bigint generated always as identity not null,
  artist_id bigint not null,
  title text not null,
  title_key text collate "C" not null,
  album_key text collate "C" default ''::text not null,
  loose_key text collate "C" not null,
  duration_ms integer,
  isrc text,
  popularity integer default 0 not null,
  version integer default 1 not null,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  constraint tracks_pkey PRIMARY KEY (id),
  constraint tracks_of_artist UNIQUE (artist_id, id),
  constraint tracks_once UNIQUE (title_key, artist_id, album_key),
  constraint tracks_duration_positive CHECK ((duration_ms > 0)),
  constraint tracks_key_size CHECK ((((octet_length(title_key) >= 1) AND (octet_length(title_key) <= 1000)) AND (octet_length(album_key) <= 1000))),
  constraint tracks_loose_key_size CHECK ((octet_length(loose_key) <= 2400)),
  constraint tracks_artist_id_fkey FOREIGN KEY (artist_id) REFERENCES artists(id)
);

create table users (
  id uuid not null,
  email text not null,
  username text not null,
  password_hash text not null,
  display_name text,
  bio text,
  avatar_url text,
  country character(2),
  time_zone text default 'UTC'::text not null,
  role user_role default 'user'::user_role not null,
  profile_visibility visibility default 'private'::visibility not null,
  history_visibility visibility default 'private'::visibility not null,
  version integer default 1 not null,
  disabled_at timestamp with time zone,
  created_at timestamp with time zone default now() not null,
  updated_at timestamp with time zone default now() not null,
  erase_requested_at timestamp with time zone,
  constraint users_pkey PRIMARY KEY (id),
  constraint users_country_code CHECK ((country ~ '^[A-Z]{2}$'::text)),
  constraint users_erased_are_off CHECK (((erase_requested_at IS NULL) OR (disabled_at IS NOT NULL)))
);

CREATE INDEX album_aliases_album ON public.album_aliases USING btree (album_id);
CREATE INDEX album_tracks_track ON public.album_tracks USING btree (track_id);
CREATE INDEX albums_by_popularity ON public.albums USING btree (popularity DESC, id DESC);
CREATE INDEX albums_by_title ON public.albums USING btree (title_key, artist_id);
CREATE INDEX api_tokens_user ON public.api_tokens USING btree (user_id);
CREATE INDEX artist_aliases_artist ON public.artist_aliases USING btree (artist_id);
CREATE INDEX artists_by_popularity ON public.artists USING btree (popularity DESC, id DESC);
CREATE INDEX catalogue_merges_into ON public.catalogue_merges USING btree (entity, into_id);
CREATE UNIQUE INDEX connections_proven_once ON public.connections USING btree (provider, account) WHERE proven;
CREATE INDEX deleted_plays_loose ON public.deleted_plays USING btree (user_id, loose_key, start_earliest);
CREATE INDEX external_ids_entity ON public.external_ids USING btree (entity, entity_id);
CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);
CREATE INDEX import_jobs_blob ON public.import_jobs USING btree (blob_delete_after) WHERE (blob_key IS NOT NULL);
CREATE INDEX import_jobs_connection ON public.import_jobs USING btree (connection_id, created_at DESC) WHERE (connection_id IS NOT NULL);
CREATE INDEX import_jobs_open ON public.import_jobs USING btree (status, next_start_at) WHERE (status = ANY (ARRAY['queued'::import_status, 'running'::import_status, 'paused'::import_status, 'cancelling'::import_status, 'undoing'::import_status]));
CREATE UNIQUE INDEX import_jobs_open_sync ON public.import_jobs USING btree (connection_id) WHERE ((kind = 'sync'::text) AND (status = ANY (ARRAY['queued'::import_status, 'running'::import_status, 'paused'::import_status, 'cancelling'::import_status])));
CREATE UNIQUE INDEX import_jobs_same_upload ON public.import_jobs USING btree (user_id, sha256, options_hash) WHERE (status = ANY (ARRAY['queued'::import_status, 'running'::import_status, 'paused'::import_status, 'cancelling'::import_status]));
CREATE INDEX import_jobs_to_link ON public.import_jobs USING btree (id) WHERE link_pending;
CREATE INDEX import_jobs_user ON public.import_jobs USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX plays_by_album ON public.listening_history USING btree (album_id, user_id, played_at DESC) WHERE (album_id IS NOT NULL);
CREATE INDEX plays_by_artist ON public.listening_history USING btree (artist_id, user_id, played_at DESC);
CREATE INDEX plays_by_import ON public.listening_history USING btree (import_job_id, played_at DESC, id DESC) WHERE (import_job_id IS NOT NULL);
CREATE INDEX plays_by_time ON public.listening_history USING btree (user_id, played_at DESC, id DESC);
CREATE INDEX plays_by_track ON public.listening_history USING btree (track_id, user_id, played_at DESC);
CREATE INDEX plays_linked ON public.listening_history USING btree (duplicate_of) WHERE (duplicate_of IS NOT NULL);
CREATE INDEX oauth_states_of_session ON public.oauth_states USING btree (session_id);
CREATE INDEX oauth_states_of_user ON public.oauth_states USING btree (user_id, created_at);
CREATE INDEX search_documents_name ON public.search_documents USING btree (hashtextextended(name, (0)::bigint), tier);
CREATE INDEX search_documents_popular_words ON public.search_documents USING gin (words) WITH (fastupdate='on', gin_pending_list_limit='8192') WHERE (tier <= 1);
CREATE INDEX search_documents_top_words ON public.search_documents USING gin (words) WITH (fastupdate='on', gin_pending_list_limit='8192') WHERE (tier = 0);
CREATE INDEX search_documents_words ON public.search_documents USING gin (words) WITH (fastupdate='on', gin_pending_list_limit='8192');
CREATE INDEX search_words_near ON public.search_words USING gin (near) WITH (fastupdate='on', gin_pending_list_limit='8192');
CREATE INDEX sessions_expired ON public.sessions USING btree (expires_at);
CREATE INDEX sessions_revoked ON public.sessions USING btree (revoked_at) WHERE (revoked_at IS NOT NULL);
CREATE INDEX sessions_user ON public.sessions USING btree (user_id, created_at DESC);
CREATE INDEX stats_moves_by_user ON public.stats_moves USING btree (user_id);
CREATE INDEX track_aliases_title ON public.track_aliases USING btree (title_key);
CREATE INDEX track_aliases_track ON public.track_aliases USING btree (track_id);
CREATE INDEX track_artists_artist ON public.track_artists USING btree (artist_id);
CREATE INDEX tracks_by_popularity ON public.tracks USING btree (popularity DESC, id DESC);
CREATE INDEX tracks_loose_key ON public.tracks USING btree (loose_key);
CREATE UNIQUE INDEX users_email_once ON public.users USING btree (lower(email));
CREATE INDEX users_to_erase ON public.users USING btree (erase_requested_at) WHERE (erase_requested_at IS NOT NULL);
CREATE UNIQUE INDEX users_username_once ON public.users USING btree (lower(username));

CREATE TRIGGER album_aliases_search AFTER INSERT OR DELETE OR UPDATE ON public.album_aliases FOR EACH ROW EXECUTE FUNCTION note_alias('album');
CREATE TRIGGER albums_gone AFTER DELETE ON public.albums REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_external_ids('album');
CREATE TRIGGER albums_search_delete AFTER DELETE ON public.albums REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_catalogue_delete('album');
CREATE TRIGGER albums_search_insert AFTER INSERT ON public.albums REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_catalogue_insert('album');
CREATE TRIGGER albums_search_update AFTER UPDATE ON public.albums REFERENCING OLD TABLE AS before_change NEW TABLE AS after_change FOR EACH STATEMENT EXECUTE FUNCTION note_title_update('album');
CREATE TRIGGER api_tokens_changed AFTER UPDATE OF user_id, token_hash, scopes, expires_at, revoked_at ON public.api_tokens FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION api_token_ended();
CREATE TRIGGER api_tokens_deleted AFTER DELETE ON public.api_tokens FOR EACH ROW WHEN (((old.revoked_at IS NULL) AND ((old.expires_at IS NULL) OR (old.expires_at > now())))) EXECUTE FUNCTION api_token_ended();
CREATE TRIGGER artist_aliases_search AFTER INSERT OR DELETE OR UPDATE ON public.artist_aliases FOR EACH ROW EXECUTE FUNCTION note_alias('artist');
CREATE TRIGGER artists_gone AFTER DELETE ON public.artists REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_external_ids('artist');
CREATE TRIGGER artists_search_delete AFTER DELETE ON public.artists REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_catalogue_delete('artist');
CREATE TRIGGER artists_search_insert AFTER INSERT ON public.artists REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_catalogue_insert('artist');
CREATE TRIGGER artists_search_update AFTER UPDATE ON public.artists REFERENCING OLD TABLE AS before_change NEW TABLE AS after_change FOR EACH STATEMENT EXECUTE FUNCTION note_artist_update();
CREATE TRIGGER plays_moved AFTER UPDATE ON public.listening_history REFERENCING OLD TABLE AS plays_then NEW TABLE AS plays_now FOR EACH STATEMENT EXECUTE FUNCTION note_moved_plays();
CREATE TRIGGER sessions_deleted AFTER DELETE ON public.sessions FOR EACH ROW WHEN (((old.revoked_at IS NULL) AND (old.expires_at > now()))) EXECUTE FUNCTION session_deleted();
CREATE TRIGGER sessions_revoked AFTER UPDATE OF revoked_at ON public.sessions FOR EACH ROW WHEN ((new.revoked_at IS NOT NULL)) EXECUTE FUNCTION session_revoked();
CREATE TRIGGER track_aliases_search AFTER INSERT OR DELETE OR UPDATE ON public.track_aliases FOR EACH ROW EXECUTE FUNCTION note_alias('track');
CREATE TRIGGER tracks_gone AFTER DELETE ON public.tracks REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_external_ids('track');
CREATE TRIGGER tracks_rekeyed AFTER UPDATE OF loose_key ON public.tracks FOR EACH ROW WHEN ((old.loose_key IS DISTINCT FROM new.loose_key)) EXECUTE FUNCTION note_rekeyed_track();
CREATE TRIGGER tracks_search_delete AFTER DELETE ON public.tracks REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note_catalogue_delete('track');
CREATE TRIGGER tracks_search_insert AFTER INSERT ON public.tracks REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION note_catalogue_insert('track');
CREATE TRIGGER tracks_search_update AFTER UPDATE ON public.tracks REFERENCING OLD TABLE AS before_change NEW TABLE AS after_change FOR EACH STATEMENT EXECUTE FUNCTION note_title_update('track');
CREATE TRIGGER users_changed AFTER UPDATE ON public.users FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION account_changed();
CREATE TRIGGER users_gone AFTER DELETE ON public.users FOR EACH ROW EXECUTE FUNCTION account_gone();

comment on function account_changed() is 'a trigger, so that no writer can forget it: privacy settings take effect at once';
comment on function account_gone() is 'tells who listens, and leaves no trace of the account';
comment on table album_aliases is 'The same for albums. The artist is part of the old key, and need not be the album''s artist.';
comment on table album_tracks is 'Which tracks an album has; disc and position where a source told them.';
comment on table albums is 'Shared catalogue. An album is its artist and normalised title.';
comment on column albums.release_date is 'YYYY, YYYY-MM or YYYY-MM-DD: as exactly as a source knows it';
comment on function announce_change(changed_topic text, changed_owner uuid) is 'the last write of a transaction that changes what cached answers show: the row stays locked until it ends';
comment on function api_token_ended() is 'a trigger, so that whoever ends or changes a token ends every copy of it in the same transaction. See docs/adr/0012.';
comment on table api_tokens is 'Personal access tokens; only the SHA-256 of the token is kept.';
comment on column api_tokens.last_used_at is 'moved once a minute at most; no copy depends on it';
comment on table artist_aliases is 'Keys that artists had before they were renamed or merged: the old name still finds them.';
comment on table artists is 'Shared catalogue. An artist is its normalised name.';
comment on column artists.name is 'as the first source gave it';
comment on column artists.name_key is 'normalised by services/catalog/keys.ts, at most 1000 bytes, never empty';
comment on column artists.popularity is 'counted plays; refreshed set-based, never by a single play';
comment on table cache_versions is 'Grows with each change to what cached answers show: part of their keys. No row: never changed. See docs/adr/0011.';
comment on column cache_versions.owner is 'the user whose data the topic is about, without a foreign key because of the nil UUID: of everybody; users_gone removes the rows';
comment on table catalogue_merges is 'Ids that were merged away, and the ids they stand for now. Never a chain: into_id is always there.';
comment on column catalogue_merges.into_id is 'without a foreign key, for its target depends on entity: whoever merges keeps it true';
comment on index connections_proven_once is 'who has shown that an account is theirs is the only one; a name that anybody can follow is nobody''s';
comment on table connections is 'A user''s account at a provider, for periodic sync.';
comment on column connections.access_token is 'AES-256-GCM, with refresh_token, under the key named by token_key_id';
comment on column connections.proven is 'the provider has said that whoever connected it holds the account';
comment on column connections.refusals is 'how often in a row, since refused_since, the provider would not renew the access; several over a day mean that it was taken back';
comment on column connections.scheduled is 'schedule that the queue was last told of; another than the row asks for while it is to be told';
comment on table deleted_plays is 'Plays their owner deleted. An import that brings one again, or another sighting of it, adds nothing.';
comment on column deleted_plays.loose_key is 'of the track as it was when the play was deleted: with the ranges, what another sighting is recognised by';
comment on column deleted_plays.end_earliest is 'with end_latest: the range the end can lie in; null where the source told no end';
comment on table external_ids is 'Strong ids (Spotify URI, ISRC, MBID ...). A known one decides identity before any text does.';
comment on function forget_external_ids() is 'external_ids can have no foreign key, its target depends on entity; this keeps ids from pointing nowhere';
comment on table idempotency_keys is 'Answers already given, by Idempotency-Key; kept for 24 hours.';
comment on column idempotency_keys.response_status is 'null while the first request with this key is still running';
comment on column idempotency_keys.response_body is 'json, not jsonb: the same bytes again, in the same order';
comment on table import_batches is 'Commit marker of a batch, in the same transaction as its plays: an activity that runs twice has its effect once.';
comment on column import_batches.reasons is '{"duplicate": {reason: n}, "skipped": {reason: n}, "rejected": {reason: n}}';
comment on column import_batches.claimed_ids is 'the play each claimed record stands for, inserted or already there; 0 = deleted by its owner, or dry run';
comment on column import_batches.claimed_positions is '0-based index of the record in the part; same order as claimed_ids';
comment on column import_batches.claimed_reasons is '0 = inserted, else the number of the duplicate reason';
comment on column import_batches.first_position is 'index in the part of the first record of this batch; the batch holds the read records from there on';
comment on column import_batches.claimed_from is 'with claimed_to: least and greatest play claimed, so that looking for the claims on a play opens few arrays';
comment on table import_dry_keys is 'Plays that a dry run would have inserted, so that it knows a repeat inside its upload; deleted with the upload.';
comment on index import_jobs_open_sync is 'a connection is synced by one import at a time';
comment on index import_jobs_same_upload is 'the same upload while the first is open is the first';
comment on table import_jobs is 'One import. The row is the outbox: a workflow is started for it after it is committed, and started again if that failed.';
comment on column import_jobs.batch_rows is 'records per batch; fixed with the job, because batch borders must not move between attempts';
comment on column import_jobs.parser_version is 'version of the parsers that began this job; another version never continues it';
comment on column import_jobs.attempt is 'number of the workflow run by retry: workflow id import-<id>-<attempt>';
comment on column import_jobs.totals is 'counts by verdict and reason, written when the job closes; while it runs they are summed from its batches';
comment on column import_jobs.version is 'grows with every visible change';
comment on column import_jobs.parked_at is 'set while the workflow of a paused import waits to be woken; a job that runs again and is still parked missed its wake-up';
comment on column import_jobs.link_pending is 'brought plays that are not linked with those of other sources yet; set by each batch, cleared by the step that links';
comment on table import_parts is 'One file inside an upload. The check is the promise: every record read has exactly one verdict.';
comment on column import_parts.linked is 'how many of the inserted were another sighting of a play when the import was linked';
comment on column import_parts.lost_attempts is 'workers in a row that vanished while they read this part and before they committed a batch of it';
comment on table import_rows is 'Every rejected record, and the first 100,000 skipped ones of a job, with a sentence and the raw record without personal fields.';
comment on table invites is 'Codes that let one person each create an account; only the SHA-256 of the code is kept.';
comment on column invites.used_at is 'set by the transaction that creates the account, so that one code makes one account';
comment on table link_changes is 'Loose keys that tracks have lost or won by a rename or a merge, so that plays of anybody may have to be linked anew. Rows are only ever added; the worker takes away those that it has worked off.';
comment on index plays_by_import is 'the plays of an import in order of time, however few they are in a long history';
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
comment on function note_alias() is 'for each row: only editors write aliases, a few at a time';
comment on function note_artist_update() is 'by except and not by a join: its plan is kept, and one made for a single row would compare each of many with each other';
comment on function note_catalogue_insert() is 'once a statement; in pieces, so that a row of search_changes is a bounded piece of work';
comment on function note_moved_plays() is 'a trigger, because a merge moves the plays of everybody by foreign keys and announces no history';
comment on function note_rekeyed_track() is 'a trigger, because tracks are renamed in several places and imports never do it';
comment on table oauth_states is 'Authorizations that were begun and have not come back. A row goes when its state comes back, so that it does so once.';
comment on column oauth_states.verifier is 'of PKCE, AES-256-GCM under the key named by verifier_key_id';
comment on table play_link_overrides is 'Pairs of plays that their owner says are two, however alike they look: they are never linked again.';
comment on column play_link_overrides.first_key is 'with second_key: the source keys, the lesser first; no foreign keys, for the plays may be undone and imported again';
comment on table popularity_state is 'One row: how far the popularity of the catalogue is up to date. See services/catalog/popularity.ts.';
comment on column popularity_state.seen is 'versions of histories and catalogue, and newest ids, when the last pass began';
comment on column popularity_state.pending is 'numbers were written that nobody was told of yet';
comment on column popularity_state.took_ms is 'of the last pass: the next one waits a multiple of it';
comment on table search_changes is 'Catalogue rows that search_documents has to be made anew for; a row per statement that wrote them';
comment on column search_changes.renamed is 'of artists: their albums and tracks are out of date, too';
comment on table search_documents is 'What can be found: one row per artist, album and track. Written by services/search/ alone, from the catalogue.';
comment on column search_documents.name is 'the title or name as services/search/words.ts reads it: words without case, accents and signs';
comment on column search_documents.words is 'words of the name and of its artist; of scripts without spaces, pairs of characters; without positions';
comment on column search_documents.popularity is 'copied from the catalogue row, to be sorted by without a look at it';
comment on column search_documents.tier is '0: the few thousand most popular, 1: the next, 2: the rest; see search_tiers';
comment on table search_tiers is 'A document is of the first tier whose (popularity descending, id ascending) border it does not come after';
comment on table search_words is 'Words that a misspelt one may stand for';
comment on column search_words.documents is 'how many rows of search_documents have it';
comment on column search_words.near is 'hashes of the word, and of the word without each one of its letters';
comment on function session_deleted() is 'nothing is left that a process could read when it listens again, so all copies made for the account end';
comment on function session_revoked() is 'a trigger, so that whoever revokes tells every process in the same transaction. See docs/adr/0006.';
comment on index sessions_revoked is 'for processes that catch up with what was revoked, and for the pass that deletes it later';
comment on table sessions is 'One family of refresh tokens. The truth; Redis holds a copy as the fast path.';
comment on column sessions.refresh_counter is 'number of the refresh token that is valid now; one conditional update moves it';
comment on column sessions.refresh_key is 'part of the key of this family''s refresh tokens; the other part is the signing secret, so the table alone makes none';
comment on column sessions.rotated_at is 'when refresh_counter last moved; start of the grace period of its predecessor';
comment on table stats_moves is 'Users some of whose plays have moved to another artist, album or track. Rows are only ever added, so nobody waits; the next build takes away those that it has seen.';
comment on table stats_users is 'What the sums in stats_years were made from. They are read only while this is how things stand. See docs/adr/0017.';
comment on column stats_users.history_version is 'version of the topic history in cache_versions; 0: there was none';
comment on column stats_users.time_zone is 'as in users when it was built: in it the years begin';
comment on column stats_users.build is 'grows with each build, so that two statements can tell that they read the same';
comment on table stats_years is 'Sums over the counted plays of one user in one year. Made from listening_history by services/stats/rebuild.ts, and can be made again at any time.';
comment on column stats_years.year is 'of the user''s time zone; 0: all of time';
comment on column stats_years.fingerprint is 'of the plays, 53 bits of a hash: a year that has the one it had is not built again; 0 for all of time';
comment on column stats_years.private is 'how many of the plays are of private sessions: others may be shown these sums only when there are none';
comment on column stats_years.artist_ids is 'most plays first, then by id; album_ids and track_ids likewise';
comment on column stats_years.days is 'days with plays since 1970-01-01, as the user''s time zone tells them, in order; none for all of time';
comment on column stats_years.hours is 'minutes from 1970-01-01 UTC to the start of each local hour with plays, in order; none for all of time';
comment on table sync_gaps is 'Stretches of time that a provider did not tell about any more when it was asked.';
comment on table sync_runs is 'How far the sync of one import is; where the next one begins, its connection says.';
comment on column sync_runs.polled_at is 'time of the page under way, written before it is first asked for; null between pages';
comment on column sync_runs.failures is 'how often in a row the provider did not answer';
comment on column sync_runs.cursor is 'of a dry run, which leaves that of its connection alone';
comment on table track_aliases is 'The same for tracks.';
comment on table track_artists is 'Credits, where a source lists them. No row: the track''s own artist is the only credit.';
comment on table tracks is 'Shared catalogue. A track is its artist and normalised title; the album is an attribute of the play.';
comment on column tracks.album_key is 'empty, except for the reserved artist [unknown], whose tracks are told apart by album too';
comment on column tracks.loose_key is 'coarser key of artist and title, for finding re-sightings and merge proposals; never identity';
comment on constraint tracks_of_artist on tracks is 'target of listening_history (track_id, artist_id): one check covers both; its index finds the tracks of an artist';
comment on constraint tracks_once on tracks is 'title first: its index also finds tracks by title alone, and lists them by name';
comment on table users is 'A person with an account. Everything else that is personal hangs on users.id and goes with it.';
comment on column users.id is 'UUID version 7';
comment on column users.password_hash is 'bcrypt over a keyed pre-hash, see services/auth/passwords.ts';
comment on column users.time_zone is 'IANA name; only for grouping in statistics, times are stored in UTC';
comment on column users.disabled_at is 'set: no session, token or login works';
comment on column users.erase_requested_at is 'set: all that belongs to this account is being deleted, this row last';
