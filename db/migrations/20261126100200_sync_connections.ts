import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table connections add column scheduled text;
    comment on column connections.scheduled is 'schedule that the queue was last told of; another than the row asks for while it is to be told';

    create unique index import_jobs_open_sync on import_jobs (connection_id)
      where kind = 'sync' and status in ('queued', 'running', 'paused', 'cancelling');
    comment on index import_jobs_open_sync is 'a connection is synced by one import at a time';

    create table sync_gaps (
      connection_id uuid not null references connections (id) on delete cascade,
      gap_from timestamptz not null,
      gap_until timestamptz not null,
      noted_at timestamptz not null default now(),
      constraint sync_gaps_pkey primary key (connection_id, gap_from),
      constraint sync_gaps_not_empty check (gap_from < gap_until)
    );
    comment on table sync_gaps is 'Stretches of time that a provider did not tell about any more when it was asked.';

    create table sync_runs (
      job_id uuid primary key references import_jobs (id) on delete cascade,
      polled_at timestamptz,
      failures integer not null default 0,
      pages integer not null default 0,
      cursor jsonb,
      constraint sync_runs_not_negative check (least(failures, pages) >= 0)
    );
    comment on table sync_runs is 'How far the sync of one import is; where the next one begins, its connection says.';
    comment on column sync_runs.polled_at is 'time of the page under way, written before it is first asked for; null between pages';
    comment on column sync_runs.failures is 'how often in a row the provider did not answer';
    comment on column sync_runs.cursor is 'of a dry run, which leaves that of its connection alone';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table sync_runs, sync_gaps;
    drop index import_jobs_open_sync;
    alter table connections drop column scheduled;
  `);
}
