import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table cache_versions (
      topic text not null,
      owner uuid not null,
      version bigint not null,
      constraint cache_versions_pkey primary key (topic, owner)
    ) with (fillfactor = 50);
    comment on table cache_versions is 'Grows with each change to what cached answers show: part of their keys. No row: never changed. See docs/adr/0011.';
    comment on column cache_versions.owner is 'the user whose data the topic is about, without a foreign key because of the nil UUID: of everybody; users_gone removes the rows';

    create function announce_change(changed_topic text, changed_owner uuid) returns void language plpgsql as $$
    declare
      -- A clock, so that a database put back from a backup never gives a version a second meaning.
      stamp bigint := (extract(epoch from clock_timestamp()) * 1000000)::bigint;
    begin
      insert into cache_versions as v (topic, owner, version) values (changed_topic, changed_owner, stamp)
      on conflict (topic, owner) do update set version = greatest(v.version + 1, excluded.version)
      returning v.version into stamp;
      perform pg_notify('playlog_changed', concat_ws(' ', changed_topic, changed_owner, stamp));
    end $$;
    comment on function announce_change(text, uuid) is 'the last write of a transaction that changes what cached answers show: the row stays locked until it ends';

    create function account_changed() returns trigger language plpgsql as $$
    begin
      perform announce_change('account', new.id);
      return null;
    end $$;
    comment on function account_changed() is 'a trigger, so that no writer can forget it: privacy settings take effect at once';
    create trigger users_changed after update on users
      for each row when (old.* is distinct from new.*) execute function account_changed();

    create function account_gone() returns trigger language plpgsql as $$
    begin
      perform announce_change(topic, old.id) from unnest(array['account', 'history']) as topic;
      delete from cache_versions where owner = old.id;
      return null;
    end $$;
    comment on function account_gone() is 'tells who listens, and leaves no trace of the account';
    create trigger users_gone after delete on users for each row execute function account_gone();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger users_gone on users;
    drop function account_gone();
    drop trigger users_changed on users;
    drop function account_changed();
    drop function announce_change(text, uuid);
    drop table cache_versions;
  `);
}
