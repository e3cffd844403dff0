/**
 * What a user can have, put straight into the tables: a row in every table that has a `user_id`, plays apart (`insertPlays`).
 * Tests of exporting and erasing look for tables that are not in here.
 */
import type pg from "pg";

/** In rows of `insertEverything` that no export may show; as text, hexadecimal digits or base64. */
export const SECRETS = ["refresh-secret", "token-secret", "provider-secret"] as const;

const STATEMENTS = [
  `insert into sessions (id, user_id, refresh_key, user_agent, expires_at)
   values (gen_random_uuid(), $1::uuid, 'refresh-secret', 'A browser', now() + interval '1 day')`,
  `insert into api_tokens (id, user_id, name, token_hash, scopes)
   values (gen_random_uuid(), $1::uuid, 'my script', 'token-secret '::bytea || $1::uuid::text::bytea, '{read}')`,
  `insert into idempotency_keys (user_id, key, request_hash, response_status, response_headers, response_body)
   values ($1::uuid, 'my key', sha256('request'), 202, '{"Location": "/somewhere"}', '{"answer": 42}')`,
  `insert into connections (id, user_id, provider, account, access_token, refresh_token, token_key_id)
   values (gen_random_uuid(), $1::uuid, 'lastfm', 'me over there', 'provider-secret', 'provider-secret', 'k1')`,
  `insert into oauth_states (state_hash, user_id, session_id, provider, verifier, verifier_key_id)
   select sha256(('state ' || id::text)::bytea), $1::uuid, id, 'spotify', 'provider-secret', 'k1' from sessions where user_id = $1::uuid limit 1`,
  `insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest)
   values ($1::uuid, decode(md5('deleted'), 'hex'), 'manual', 'artist title', '2024-01-01T00:00:00Z', '2024-01-01T00:00:00Z')`,
  `insert into play_link_overrides (user_id, first_key, second_key)
   values ($1::uuid, decode(repeat('01', 16), 'hex'), decode(repeat('02', 16), 'hex'))`,
  `insert into import_jobs (id, user_id, kind, status, filename, size_bytes, sha256, options_hash, batch_rows, workflow_id,
     finished_at)
   values (gen_random_uuid(), $1::uuid, 'file', 'completed', 'my data.zip', 10, sha256('upload'), '', 100, 'import-of-' || $1::uuid::text,
     now() - interval '1 hour')`,
  `insert into import_parts (job_id, part_no, name, format, status, read, rejected)
   select id, 0, 'my file.json', 'spotify-extended', 'done', 1, 1 from import_jobs where user_id = $1::uuid and filename = 'my data.zip'`,
  `insert into import_rows (job_id, part_no, position, verdict, reason, message, excerpt)
   select id, 0, 0, 'rejected', 'bad_time', 'ts is no time', '{"ts":"soon"}' from import_jobs
    where user_id = $1::uuid and filename = 'my data.zip'`,
  `insert into stats_users (user_id, history_version, time_zone, build, built_at, build_ms)
   values ($1::uuid, 0, 'UTC', 1, now(), 0)`,
  `insert into stats_years (user_id, year, fingerprint, first_at, last_at, plays, ms_played, private, artist_ids, artist_plays,
     artist_ms, album_ids, album_plays, album_ms, track_ids, track_plays, track_ms, days, day_plays, day_ms, hours, hour_plays, hour_ms)
   values ($1::uuid, 0, 0, now(), now(), 1, 1, 0${", '{}'".repeat(15)})`,
  `insert into stats_moves (user_id) values ($1::uuid)`,
];

export async function insertEverything(pool: pg.Pool, userId: string): Promise<void> {
  for (const statement of STATEMENTS) await pool.query(statement, [userId]);
}

/** Tables that have a `user_id`, and `users`. */
export async function tablesOfUsers(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>(
    `select table_name::text as name from information_schema.columns
      where table_schema = 'public' and column_name = 'user_id'
     union select 'users' order by 1`,
  );
  return rows.map(({ name }) => name);
}

/** Of every table, the rows in whose text one of these words is. */
export async function tracesOf(pool: pg.Pool, words: readonly string[]): Promise<Record<string, number>> {
  const tables = await pool.query<{ name: string }>(
    "select oid::regclass::text as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace",
  );
  const found: Record<string, number> = {};
  for (const { name } of tables.rows) {
    const { rows } = await pool.query<{ n: number }>(
      `select count(*)::integer as n from ${name} t where exists (select from unnest($1::text[]) w where t::text ilike '%' || w || '%')`,
      [words],
    );
    if (rows[0]!.n > 0) found[name] = rows[0]!.n;
  }
  return found;
}
