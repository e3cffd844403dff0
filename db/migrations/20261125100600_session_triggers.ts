import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create function session_revoked() returns trigger language plpgsql as $$
    begin
      perform pg_notify('playlog_session_revoked', new.id::text);
      return null;
    end $$;
    comment on function session_revoked() is 'a trigger, so that whoever revokes tells every process in the same transaction. See docs/adr/0006.';
    create trigger sessions_revoked after update of revoked_at on sessions
      for each row when (new.revoked_at is not null) execute function session_revoked();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw("drop trigger sessions_revoked on sessions; drop function session_revoked();");
}
