import type { Knex } from "knex";

/** What linking needs to know: which imports have brought plays that nobody linked yet, and which names have changed. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table import_jobs add column link_pending boolean not null default false;
    comment on column import_jobs.link_pending is 'brought plays that are not linked with those of other sources yet; set by each batch, cleared by the step that links';
    create index import_jobs_to_link on import_jobs (id) where link_pending;
    update import_jobs j set link_pending = true
     where not dry_run and exists (select from import_parts where job_id = j.id and inserted > 0);

    alter table import_parts add constraint import_parts_linked_of_inserted check (linked <= inserted);
    comment on column import_parts.linked is 'how many of the inserted were another sighting of a play when the import was linked';

    create table link_changes (
      id bigint generated always as identity,
      loose_key text collate "C" not null,
      constraint link_changes_pkey primary key (id),
      constraint link_changes_key_size check (octet_length(loose_key) <= 2400)
    );
    comment on table link_changes is 'Loose keys that tracks have lost or won by a rename or a merge, so that plays of anybody may have to be linked anew. Rows are only ever added; the worker takes away those that it has worked off.';

    create function note_rekeyed_track() returns trigger language plpgsql as $$
    begin
      insert into link_changes (loose_key) values (old.loose_key), (new.loose_key);
      return null;
    end $$;
    comment on function note_rekeyed_track() is 'a trigger, because tracks are renamed in several places and imports never do it';
    create trigger tracks_rekeyed after update of loose_key on tracks
      for each row when (old.loose_key is distinct from new.loose_key) execute function note_rekeyed_track();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger tracks_rekeyed on tracks;
    drop function note_rekeyed_track();
    drop table link_changes;
    alter table import_parts drop constraint import_parts_linked_of_inserted;
    comment on column import_parts.linked is null;
    drop index import_jobs_to_link;
    alter table import_jobs drop column link_pending;
  `);
}
