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

CREATE OR REPLACE FUNCTION public.forget_external_ids()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
      begin
        delete from external_ids e using gone where e.entity = tg_argv[0] and e.entity_id = gone.id;
        return null;
      end
    $function$;

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
  constraint connections_pkey PRIMARY KEY (id),
  constraint connections_once UNIQUE (user_id, provider, account),
  constraint connections_interval CHECK (((every_minutes >= 1) AND (every_minutes <= 44640))),
  constraint connections_known_provider CHECK ((provider = ANY (ARRAY['spotify'::text, 'apple'::text, 'youtube'::text, 'listenbrainz'::text, 'lastfm'::text]))),
  constraint connections_known_status CHECK ((status = ANY (ARRAY['active'::text, 'needs_reauth'::text, 'paused'::text, 'unavailable'::text]))),
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
  constraint users_pkey PRIMARY KEY (id),
  constraint users_country_code CHECK ((country ~ '^[A-Z]{2}$'::text))
);

CREATE INDEX album_tracks_track ON public.album_tracks USING btree (track_id);
CREATE INDEX api_tokens_user ON public.api_tokens USING btree (user_id);
CREATE INDEX deleted_plays_loose ON public.deleted_plays USING btree (user_id, loose_key, start_earliest);
CREATE INDEX external_ids_entity ON public.external_ids USING btree (entity, entity_id);
CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);
CREATE INDEX import_jobs_blob ON public.import_jobs USING btree (blob_delete_after) WHERE (blob_key IS NOT NULL);
CREATE INDEX import_jobs_connection ON public.import_jobs USING btree (connection_id, created_at DESC) WHERE (connection_id IS NOT NULL);
CREATE INDEX import_jobs_open ON public.import_jobs USING btree (status, next_start_at) WHERE (status = ANY (ARRAY['queued'::import_status, 'running'::import_status, 'paused'::import_status, 'cancelling'::import_status, 'undoing'::import_status]));
CREATE UNIQUE INDEX import_jobs_same_upload ON public.import_jobs USING btree (user_id, sha256, options_hash) WHERE (status = ANY (ARRAY['queued'::import_status, 'running'::import_status, 'paused'::import_status, 'cancelling'::import_status]));
CREATE INDEX import_jobs_user ON public.import_jobs USING btree (user_id, created_at DESC, id DESC);
CREATE INDEX plays_by_album ON public.listening_history USING btree (album_id, user_id, played_at DESC) WHERE (album_id IS NOT NULL);
CREATE INDEX plays_by_artist ON public.listening_history USING btree (artist_id, user_id, played_at DESC);
CREATE INDEX plays_by_time ON public.listening_history USING btree (user_id, played_at DESC, id DESC);
CREATE INDEX plays_by_track ON public.listening_history USING btree (track_id, user_id, played_at DESC);
CREATE INDEX plays_linked ON public.listening_history USING btree (duplicate_of) WHERE (duplicate_of IS NOT NULL);
CREATE INDEX sessions_expired ON public.sessions USING btree (expires_at);
CREATE INDEX sessions_user ON public.sessions USING btree (user_id, created_at DESC);
CREATE INDEX track_artists_artist ON public.track_artists USING btree (artist_id);
CREATE INDEX tracks_loose_key ON public.tracks USING btree (loose_key);
CREATE UNIQUE INDEX users_email_once ON public.users USING btree (lower(email));
CREATE UNIQUE INDEX users_username_once ON public.users USING btree (lower(username));

CREATE TRIGGER albums_gone AFTER DELETE ON public.albums REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_external_ids('album');
CREATE TRIGGER artists_gone AFTER DELETE ON public.artists REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_external_ids('artist');
CREATE TRIGGER sessions_deleted AFTER DELETE ON public.sessions FOR EACH ROW WHEN (((old.revoked_at IS NULL) AND (old.expires_at > now()))) EXECUTE FUNCTION session_deleted();
CREATE TRIGGER sessions_revoked AFTER UPDATE OF revoked_at ON public.sessions FOR EACH ROW WHEN ((new.revoked_at IS NOT NULL)) EXECUTE FUNCTION session_revoked();
CREATE TRIGGER tracks_gone AFTER DELETE ON public.tracks REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION forget_external_ids('track');
CREATE TRIGGER users_changed AFTER UPDATE ON public.users FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION account_changed();
CREATE TRIGGER users_gone AFTER DELETE ON public.users FOR EACH ROW EXECUTE FUNCTION account_gone();

comment on function account_changed() is 'a trigger, so that no writer can forget it: privacy settings take effect at once';
comment on function account_gone() is 'tells who listens, and leaves no trace of the account';
comment on table album_tracks is 'Which tracks an album has; disc and position where a source told them.';
comment on table albums is 'Shared catalogue. An album is its artist and normalised title.';
comment on column albums.release_date is 'YYYY, YYYY-MM or YYYY-MM-DD: as exactly as a source knows it';
comment on function announce_change(changed_topic text, changed_owner uuid) is 'the last write of a transaction that changes what cached answers show: the row stays locked until it ends';
comment on table api_tokens is 'Personal access tokens; only the SHA-256 of the token is kept.';
comment on table artists is 'Shared catalogue. An artist is its normalised name.';
comment on column artists.name is 'as the first source gave it';
comment on column artists.name_key is 'normalised by services/catalog/keys.ts, at most 1000 bytes, never empty';
comment on column artists.popularity is 'counted plays; refreshed set-based, never by a single play';
comment on table cache_versions is 'Grows with each change to what cached answers show: part of their keys. No row: never changed. See docs/adr/0011.';
comment on column cache_versions.owner is 'the user whose data the topic is about, without a foreign key because of the nil UUID: of everybody; users_gone removes the rows';
comment on table connections is 'A user''s account at a provider, for periodic sync.';
comment on column connections.access_token is 'AES-256-GCM, with refresh_token, under the key named by token_key_id';
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
comment on index import_jobs_same_upload is 'the same upload while the first is open is the first';
comment on table import_jobs is 'One import. The row is the outbox: a workflow is started for it after it is committed, and started again if that failed.';
comment on column import_jobs.batch_rows is 'records per batch; fixed with the job, because batch borders must not move between attempts';
comment on column import_jobs.parser_version is 'version of the parsers that began this job; another version never continues it';
comment on column import_jobs.attempt is 'number of the workflow run by retry: workflow id import-<id>-<attempt>';
comment on column import_jobs.totals is 'counts by verdict and reason, written when the job closes; while it runs they are summed from its batches';
comment on column import_jobs.version is 'grows with every visible change';
comment on column import_jobs.parked_at is 'set while the workflow of a paused import waits to be woken; a job that runs again and is still parked missed its wake-up';
comment on table import_parts is 'One file inside an upload. The check is the promise: every record read has exactly one verdict.';
comment on column import_parts.lost_attempts is 'workers in a row that vanished while they read this part and before they committed a batch of it';
comment on table import_rows is 'Every rejected record, and the first 100,000 skipped ones of a job, with a sentence and the raw record without personal fields.';
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
comment on function session_deleted() is 'nothing is left that a process could read when it listens again, so all copies made for the account end';
comment on function session_revoked() is 'a trigger, so that whoever revokes tells every process in the same transaction. See docs/adr/0006.';
comment on table sessions is 'One family of refresh tokens. The truth; Redis holds a copy as the fast path.';
comment on column sessions.refresh_counter is 'number of the refresh token that is valid now; one conditional update moves it';
comment on column sessions.refresh_key is 'key of the HMAC in this family''s refresh tokens; no token is ever stored';
comment on column sessions.rotated_at is 'when refresh_counter last moved; start of the grace period of its predecessor';
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
