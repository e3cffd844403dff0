import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table users
      add column erase_requested_at timestamptz,
      add constraint users_erased_are_off check (erase_requested_at is null or disabled_at is not null);
    comment on column users.erase_requested_at is 'set: all that belongs to this account is being deleted, this row last';
    create index users_to_erase on users (erase_requested_at) where erase_requested_at is not null;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop index users_to_erase;
    alter table users drop constraint users_erased_are_off, drop column erase_requested_at;
  `);
}
