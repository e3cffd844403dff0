import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table play_link_overrides (
      user_id uuid not null references users (id) on delete cascade,
      first_key bytea not null,
      second_key bytea not null,
      created_at timestamptz not null default now(),
      constraint play_link_overrides_once primary key (user_id, first_key, second_key),
      constraint play_link_overrides_key_size check (octet_length(first_key) = 16 and octet_length(second_key) = 16),
      constraint play_link_overrides_ordered check (first_key < second_key)
    );
    comment on table play_link_overrides is 'Pairs of plays that their owner says are two, however alike they look: they are never linked again.';
    comment on column play_link_overrides.first_key is 'with second_key: the source keys, the lesser first; no foreign keys, for the plays may be undone and imported again';

    create index plays_by_import on listening_history (import_job_id, played_at desc, id desc) where import_job_id is not null;
    comment on index plays_by_import is 'the plays of an import in order of time, however few they are in a long history';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index plays_by_import;
    drop table play_link_overrides;
  `);
}
