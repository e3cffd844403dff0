import type { Knex } from "knex";

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create type user_role as enum ('user', 'editor', 'admin');
    create type visibility as enum ('public', 'private');

    create table users (
      id uuid primary key,
      email text not null,
      username text not null,
      password_hash text not null,
      display_name text,
      bio text,
      avatar_url text,
      country char(2),
      time_zone text not null default 'UTC',
      role user_role not null default 'user',
      profile_visibility visibility not null default 'private',
      history_visibility visibility not null default 'private',
      version integer not null default 1,
      disabled_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint users_country_code check (country ~ '^[A-Z]{2}$')
    );
    create unique index users_email_once on users (lower(email));
    create unique index users_username_once on users (lower(username));
    comment on table users is 'A person with an account. Everything else that is personal hangs on users.id and goes with it.';
    comment on column users.id is 'UUID version 7';
    comment on column users.password_hash is 'bcrypt over a keyed pre-hash, see services/auth/passwords.ts';
    comment on column users.time_zone is 'IANA name; only for grouping in statistics, times are stored in UTC';
    comment on column users.disabled_at is 'set: no session, token or login works';

    create table sessions (
      id uuid primary key,
      user_id uuid not null references users (id) on delete cascade,
      refresh_counter integer not null default 0,
      refresh_key bytea not null,
      rotated_at timestamptz not null default now(),
      user_agent text,
      created_at timestamptz not null default now(),
      last_used_at timestamptz not null default now(),
      expires_at timestamptz not null,
      revoked_at timestamptz,
      revoked_reason text,
      constraint sessions_counter_not_negative check (refresh_counter >= 0)
    );
    create index sessions_user on sessions (user_id, created_at desc);
    create index sessions_expired on sessions (expires_at);
    comment on table sessions is 'One family of refresh tokens. The truth; Redis holds a copy as the fast path.';
    comment on column sessions.refresh_counter is 'number of the refresh token that is valid now; one conditional update moves it';
    comment on column sessions.refresh_key is 'key of the HMAC in this family''s refresh tokens; no token is ever stored';
    comment on column sessions.rotated_at is 'when refresh_counter last moved; start of the grace period of its predecessor';

    create table api_tokens (
      id uuid primary key,
      user_id uuid not null references users (id) on delete cascade,
      name text not null,
      token_hash bytea not null,
      scopes text[] not null,
      last_used_at timestamptz,
      expires_at timestamptz,
      created_at timestamptz not null default now(),
      revoked_at timestamptz,
      constraint api_tokens_hash_once unique (token_hash),
      constraint api_tokens_known_scopes check (scopes <@ array['read', 'write', 'import', 'admin'] and cardinality(scopes) > 0)
    );
    create index api_tokens_user on api_tokens (user_id);
    comment on table api_tokens is 'Personal access tokens; only the SHA-256 of the token is kept.';

    create table idempotency_keys (
      user_id uuid not null references users (id) on delete cascade,
      key text not null,
      request_hash bytea not null,
      response_status smallint,
      response_headers json,
      response_body json,
      created_at timestamptz not null default now(),
      constraint idempotency_keys_once primary key (user_id, key)
    );
    create index idempotency_keys_age on idempotency_keys (created_at);
    comment on table idempotency_keys is 'Answers already given, by Idempotency-Key; kept for 24 hours.';
    comment on column idempotency_keys.response_body is 'json, not jsonb: the same bytes again, in the same order';
    comment on column idempotency_keys.response_status is 'null while the first request with this key is still running';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table idempotency_keys, api_tokens, sessions, users;
    drop type visibility;
    drop type user_role;
  `);
}
