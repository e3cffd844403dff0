import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table connections
      add column proven boolean not null default false,
      add column refusals smallint not null default 0,
      add column refused_since timestamptz,
      add constraint connections_refusals check (refusals >= 0 and (refusals = 0) = (refused_since is null));
    create unique index connections_proven_once on connections (provider, account) where proven;
    comment on index connections_proven_once is 'who has shown that an account is theirs is the only one; a name that anybody can follow is nobody''s';
    comment on column connections.proven is 'the provider has said that whoever connected it holds the account';
    comment on column connections.refusals is 'how often in a row, since refused_since, the provider would not renew the access; several over a day mean that it was taken back';

    create table oauth_states (
      state_hash bytea primary key,
      user_id uuid not null references users (id) on delete cascade,
      session_id uuid not null references sessions (id) on delete cascade,
      provider text not null,
      verifier bytea not null,
      verifier_key_id text not null,
      created_at timestamptz not null default now(),
      constraint oauth_states_known_provider check (provider in ('spotify', 'youtube'))
    );
    create index oauth_states_of_user on oauth_states (user_id, created_at);
    create index oauth_states_of_session on oauth_states (session_id);
    comment on table oauth_states is 'Authorizations that were begun and have not come back. A row goes when its state comes back, so that it does so once.';
    comment on column oauth_states.verifier is 'of PKCE, AES-256-GCM under the key named by verifier_key_id';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table oauth_states;
    drop index connections_proven_once;
    alter table connections drop column proven, drop column refusals, drop column refused_since;
  `);
}
