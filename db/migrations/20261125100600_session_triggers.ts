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

    create function session_deleted() returns trigger language plpgsql as $$
    begin
      perform announce_change('account', id) from users where id = old.user_id; -- else it goes with its account
      return null;
    end $$;
    comment on function session_deleted() is 'nothing is left that a process could read when it listens again, so all copies made for the account end';
    create trigger sessions_deleted after delete on sessions
      for each row when (old.revoked_at is null and old.expires_at > now()) execute function session_deleted();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger sessions_deleted on sessions;
    drop function session_deleted();
    drop trigger sessions_revoked on sessions;
    drop function session_revoked();
  `);
}
