import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create function api_token_ended() returns trigger language plpgsql as $$
    begin
      perform announce_change('account', id) from users where id = old.user_id; -- else it goes with its account
      return null;
    end $$;
    comment on function api_token_ended() is 'a trigger, so that whoever ends or changes a token ends every copy of it in the same transaction. See docs/adr/0012.';
    create trigger api_tokens_changed after update of user_id, token_hash, scopes, expires_at, revoked_at on api_tokens
      for each row when (old.* is distinct from new.*) execute function api_token_ended();
    create trigger api_tokens_deleted after delete on api_tokens
      for each row when (old.revoked_at is null and (old.expires_at is null or old.expires_at > now()))
      execute function api_token_ended();
    comment on column api_tokens.last_used_at is 'moved once a minute at most; no copy depends on it';

    create table invites (
      id uuid primary key,
      code_hash bytea not null,
      created_at timestamptz not null default now(),
      expires_at timestamptz not null,
      used_at timestamptz,
      constraint invites_code_once unique (code_hash)
    );
    comment on table invites is 'Codes that let one person each create an account; only the SHA-256 of the code is kept.';
    comment on column invites.used_at is 'set by the transaction that creates the account, so that one code makes one account';

    create index sessions_revoked on sessions (revoked_at) where revoked_at is not null;
    comment on index sessions_revoked is 'for processes that catch up with what was revoked, and for the pass that deletes it later';
    comment on column sessions.refresh_key is 'part of the key of this family''s refresh tokens; the other part is the signing secret, so the table alone makes none';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    comment on column sessions.refresh_key is 'key of the HMAC in this family''s refresh tokens; no token is ever stored';
    drop index sessions_revoked;
    drop table invites;
    comment on column api_tokens.last_used_at is null;
    drop trigger api_tokens_deleted on api_tokens;
    drop trigger api_tokens_changed on api_tokens;
    drop function api_token_ended();
  `);
}
