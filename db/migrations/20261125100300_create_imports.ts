import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table connections (
      id uuid primary key,
      user_id uuid not null references users (id) on delete cascade,
      provider text not null,
      account text not null,
      status text not null default 'active',
      access_token bytea,
      refresh_token bytea,
      token_key_id text,
      token_expires_at timestamptz,
      sync_cursor jsonb,
      every_minutes integer not null default 60,
      paused boolean not null default false,
      version integer not null default 1,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint connections_once unique (user_id, provider, account),
      constraint connections_known_provider check (provider in ('spotify', 'apple', 'youtube', 'listenbrainz', 'lastfm')),
      constraint connections_known_status check (status in ('active', 'needs_reauth', 'paused', 'unavailable')),
      constraint connections_interval check (every_minutes between 1 and 44640),
      constraint connections_token_has_key check (
        token_key_id is not null or (access_token is null and refresh_token is null)
      )
    );
    comment on table connections is 'A user''s account at a provider, for periodic sync.';
    comment on column connections.access_token is 'AES-256-GCM, with refresh_token, under the key named by token_key_id';

    create type import_status as enum (
      'queued', 'running', 'paused', 'cancelling', 'cancelled',
      'completed', 'completed_with_errors', 'failed', 'undoing', 'undone'
    );
    create type part_status as enum ('queued', 'running', 'done', 'skipped', 'failed');

    create table import_jobs (
      id uuid primary key,
      user_id uuid not null references users (id) on delete cascade,
      connection_id uuid references connections (id) on delete set null,
      kind text not null,
      status import_status not null default 'queued',
      source text,
      sources text[] not null default '{}',
      filename text,
      size_bytes bigint,
      sha256 bytea,
      blob_key text,
      dry_run boolean not null default false,
      options jsonb not null default '{}',
      options_hash bytea not null,
      batch_rows integer not null,
      parser_version integer,
      attempt integer not null default 1,
      workflow_id text not null,
      waiting_reason text,
      waiting_until timestamptz,
      error_code text,
      error_message text,
      totals jsonb,
      version bigint not null default 1,
      start_attempts integer not null default 0,
      next_start_at timestamptz,
      created_at timestamptz not null default now(),
      started_at timestamptz,
      finished_at timestamptz,
      blob_delete_after timestamptz,
      constraint import_jobs_known_kind check (kind in ('file', 'sync')),
      constraint import_jobs_workflow_once unique (workflow_id),
      constraint import_jobs_attempt check (attempt >= 1),
      constraint import_jobs_batch_rows check (batch_rows >= 1),
      constraint import_jobs_file_has_upload check (kind <> 'file' or (size_bytes is not null and sha256 is not null)),
      constraint import_jobs_hash_size check (octet_length(sha256) = 32)
    );
    create index import_jobs_user on import_jobs (user_id, created_at desc, id desc);
    create index import_jobs_connection on import_jobs (connection_id, created_at desc) where connection_id is not null;
    create index import_jobs_open on import_jobs (status, next_start_at)
      where status in ('queued', 'running', 'paused', 'cancelling', 'undoing');
    create unique index import_jobs_same_upload on import_jobs (user_id, sha256, options_hash)
      where status in ('queued', 'running', 'paused', 'cancelling');
    create index import_jobs_blob on import_jobs (blob_delete_after) where blob_key is not null;
    comment on table import_jobs is 'One import. The row is the outbox: a workflow is started for it after it is committed, and started again if that failed.';
    comment on column import_jobs.batch_rows is 'records per batch; fixed with the job, because batch borders must not move between attempts';
    comment on column import_jobs.parser_version is 'version of the parsers that began this job; another version never continues it';
    comment on column import_jobs.attempt is 'number of the workflow run by retry: workflow id import-<id>-<attempt>';
    comment on column import_jobs.totals is 'counts by verdict and reason, written when the job closes; while it runs they are summed from its batches';
    comment on column import_jobs.version is 'grows with every visible change';
    comment on index import_jobs_same_upload is 'the same upload while the first is open is the first';

    create table import_parts (
      job_id uuid not null references import_jobs (id) on delete cascade,
      part_no integer not null,
      name text not null,
      format text,
      status part_status not null default 'queued',
      bytes_total bigint not null default 0,
      bytes_read bigint not null default 0,
      error_code text,
      error_message text,
      read integer not null default 0,
      inserted integer not null default 0,
      duplicate integer not null default 0,
      skipped integer not null default 0,
      rejected integer not null default 0,
      linked integer not null default 0,
      started_at timestamptz,
      finished_at timestamptz,
      constraint import_parts_pkey primary key (job_id, part_no),
      constraint import_parts_add_up check (read = inserted + duplicate + skipped + rejected),
      constraint import_parts_not_negative check (least(inserted, duplicate, skipped, rejected, linked) >= 0)
    );
    comment on table import_parts is 'One file inside an upload. The check is the promise: every record read has exactly one verdict.';

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
      committed_at timestamptz not null default now(),
      constraint import_batches_pkey primary key (job_id, part_no, batch_no),
      constraint import_batches_part foreign key (job_id, part_no) references import_parts (job_id, part_no) on delete cascade,
      constraint import_batches_add_up check (read = inserted + duplicate + skipped + rejected),
      constraint import_batches_not_negative check (least(inserted, duplicate, skipped, rejected) >= 0),
      constraint import_batches_every_row_listed check (
        cardinality(claimed_ids) = inserted + duplicate
        and cardinality(claimed_positions) = inserted + duplicate
        and cardinality(claimed_reasons) = inserted + duplicate
        and cardinality(skipped_positions) = skipped
        and cardinality(skipped_reasons) = skipped
      )
    );
    comment on table import_batches is 'Commit marker of a batch, in the same transaction as its plays: an activity that runs twice has its effect once.';
    comment on column import_batches.reasons is '{"duplicate": {reason: n}, "skipped": {reason: n}, "rejected": {reason: n}}';
    comment on column import_batches.claimed_ids is 'the play each claimed record stands for, inserted or already there; 0 = deleted by its owner, or dry run';
    comment on column import_batches.claimed_positions is '0-based index of the record in the part; same order as claimed_ids';
    comment on column import_batches.claimed_reasons is '0 = inserted, else the number of the duplicate reason';

    create table import_rows (
      job_id uuid not null,
      part_no integer not null,
      position integer not null,
      verdict text not null,
      reason text not null,
      message text not null,
      excerpt text,
      constraint import_rows_pkey primary key (job_id, part_no, position),
      constraint import_rows_part foreign key (job_id, part_no) references import_parts (job_id, part_no) on delete cascade,
      constraint import_rows_known_verdict check (verdict in ('skipped', 'rejected'))
    );
    comment on table import_rows is 'Every rejected record, and the first 100,000 skipped ones of a job, with a sentence and the raw record without personal fields.';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table import_rows, import_batches, import_parts, import_jobs;
    drop type part_status;
    drop type import_status;
    drop table connections;
  `);
}
