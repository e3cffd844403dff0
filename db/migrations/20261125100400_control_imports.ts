import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table import_jobs add column parked_at timestamptz;
    comment on column import_jobs.parked_at is 'set while the workflow of a paused import waits to be woken; a job that runs again and is still parked missed its wake-up';

    alter table import_parts
      add column lost_attempts integer not null default 0,
      add constraint import_parts_lost_attempts check (lost_attempts >= 0);
    comment on column import_parts.lost_attempts is 'workers in a row that vanished while they read this part and before they committed a batch of it';

    alter table import_batches
      add column first_position integer,
      add column claimed_from bigint,
      add column claimed_to bigint;
    update import_batches b
       set first_position = b.batch_no * j.batch_rows,
           claimed_from = (select min(id) from unnest(b.claimed_ids) as id where id <> 0),
           claimed_to = (select max(id) from unnest(b.claimed_ids) as id where id <> 0)
      from import_jobs j
     where j.id = b.job_id;
    alter table import_batches alter column first_position set not null;
    comment on column import_batches.first_position is 'index in the part of the first record of this batch; the batch holds the read records from there on';
    comment on column import_batches.claimed_from is 'with claimed_to: least and greatest play claimed, so that looking for the claims on a play opens few arrays';

    create table import_dry_keys (
      job_id uuid not null references import_jobs (id) on delete cascade,
      source_key bytea not null,
      constraint import_dry_keys_pkey primary key (job_id, source_key)
    );
    comment on table import_dry_keys is 'Plays that a dry run would have inserted, so that it knows a repeat inside its upload; deleted with the upload.';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table import_dry_keys;
    alter table import_batches drop column first_position, drop column claimed_from, drop column claimed_to;
    alter table import_parts drop column lost_attempts;
    alter table import_jobs drop column parked_at;
  `);
}
