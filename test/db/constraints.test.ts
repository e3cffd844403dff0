import { expect } from "chai";
import type pg from "pg";
import { brokenConstraint } from "../../db/errors.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";

const U1 = "'018f0000-0000-7000-8000-000000000001'";
const U2 = "'018f0000-0000-7000-8000-000000000002'";
const JOB = "'018f0000-0000-7000-8000-00000000000a'";
const OTHER = "'018f0000-0000-7000-8000-00000000000b'";
const key = (fill: string) => `decode(repeat('${fill}', 16), 'hex')`;
const HASH = "sha256('x')";

const job = (over: Record<string, string> = {}) => {
  const values: Record<string, string> = {
    ...{ id: OTHER, user_id: U1, kind: "'file'", size_bytes: "1", sha256: "sha256('y')", options_hash: HASH },
    ...{ batch_rows: "10000", workflow_id: "'import-2-1'" },
    ...over,
  };
  return `insert into import_jobs (${Object.keys(values).join(", ")}) values (${Object.values(values).join(", ")})`;
};
const play = (over: Record<string, string> = {}) => {
  const values: Record<string, string> = {
    ...{ user_id: U1, track_id: "1", artist_id: "10", played_at: "now()", start_earliest: "now()" },
    ...{
      start_latest: "now()",
      precision: "'second'",
      source: "'manual'",
      counted: "true",
      source_key: key("bb"),
    },
    ...over,
  };
  return `insert into listening_history (${Object.keys(values).join(", ")}) values (${Object.values(values).join(", ")})`;
};
const tombstone = (over: Record<string, string> = {}) => {
  const values: Record<string, string> = {
    ...{ user_id: U1, source_key: key("bb"), source: "'manual'", loose_key: "'k'" },
    ...{ start_earliest: "now()", start_latest: "now()" },
    ...over,
  };
  return `insert into deleted_plays (${Object.keys(values).join(", ")}) values (${Object.values(values).join(", ")})`;
};
const batch = (over: Record<string, string> = {}) => {
  const values: Record<string, string> = {
    ...{ job_id: JOB, part_no: "0", batch_no: "1", read: "4", inserted: "1", duplicate: "1", skipped: "1" },
    ...{
      first_position: "0",
      rejected: "1",
      reasons: "'{}'",
      claimed_ids: "'{1,1}'",
      claimed_positions: "'{0,1}'",
    },
    ...{ claimed_reasons: "'{0,1}'", skipped_positions: "'{2}'", skipped_reasons: "'{1}'" },
    ...over,
  };
  return `insert into import_batches (${Object.keys(values).join(", ")}) values (${Object.values(values).join(", ")})`;
};
const override = (first: string, second: string, user = U1) =>
  `insert into play_link_overrides (user_id, first_key, second_key) values (${user}, ${first}, ${second})`;
const user = (email: string, name: string, more = "null") =>
  `insert into users (id, email, username, password_hash, country) values (gen_random_uuid(), '${email}', '${name}', 'x', ${more})`;
const connection = (
  over: { provider?: string; more?: string; values?: string; user?: string; account?: string } = {},
) =>
  `insert into connections (id, user_id, provider, account${over.more ?? ""})
   values (gen_random_uuid(), ${over.user ?? U1}, '${over.provider ?? "spotify"}', '${over.account ?? "other"}'${over.values ?? ""})`;

const CONNECTION = "'018f0000-0000-7000-8000-00000000000d'";
const SESSION = "'018f0000-0000-7000-8000-00000000000c'";
const oauthState = (over: Record<string, string> = {}) => {
  const values: Record<string, string> = {
    ...{ state_hash: HASH, user_id: U1, session_id: SESSION, provider: "'spotify'", verifier: HASH },
    ...{ verifier_key_id: "'k'" },
    ...over,
  };
  return `insert into oauth_states (${Object.keys(values).join(", ")}) values (${Object.values(values).join(", ")})`;
};

const STATS_LISTS = ["artist_ids", "album_ids", "track_ids", "days", "hours"];
const STATS_YEAR = `insert into stats_years (user_id, year, fingerprint, first_at, last_at, plays, ms_played, private,
    ${STATS_LISTS.join(", ")}, ${["artist", "album", "track", "day", "hour"].map((of) => `${of}_plays, ${of}_ms`).join(", ")})
  values (${U1}, 2024, 1, now(), now(), 1, 1, 0${", '{1}'".repeat(15)})`;

/** One of each, so that only the statement under test can break something. */
const BASE = `
  insert into users (id, email, username, password_hash) values
    (${U1}, 'One@example.org', 'One', 'x'), (${U2}, 'two@example.org', 'two', 'x');
  insert into artists (id, name, name_key) overriding system value values (10, 'A', 'a'), (11, 'B', 'b');
  insert into albums (id, artist_id, title, title_key) overriding system value values (5, 10, 'L', 'l');
  insert into tracks (id, artist_id, title, title_key, loose_key) overriding system value values (1, 10, 'T', 't', 'a t');
  insert into album_tracks (album_id, track_id) values (5, 1);
  insert into track_artists (track_id, artist_id, position) values (1, 10, 0);
  insert into external_ids (entity, provider, external_id, entity_id) values ('track', 'spotify', 'abc', 1);
  insert into api_tokens (id, user_id, name, token_hash, scopes) values (gen_random_uuid(), ${U1}, 'n', ${HASH}, '{read}');
  insert into invites (id, code_hash, expires_at) values (gen_random_uuid(), ${HASH}, now());
  insert into idempotency_keys (user_id, key, request_hash) values (${U1}, 'k', ${HASH});
  insert into connections (id, user_id, provider, account) values (gen_random_uuid(), ${U1}, 'spotify', 'me');
  insert into connections (id, user_id, provider, account, proven) values (gen_random_uuid(), ${U1}, 'listenbrainz', 'me', true);
  insert into sessions (id, user_id, refresh_key, expires_at) values (${SESSION}, ${U1}, ${HASH}, now());
  ${oauthState()};
  ${job({ id: JOB, sha256: HASH, workflow_id: "'import-1-1'" })};
  insert into connections (id, user_id, provider, account) values (${CONNECTION}, ${U1}, 'lastfm', 'me');
  ${job({ id: "gen_random_uuid()", kind: "'sync'", sha256: "null", workflow_id: "'import-s-1'", connection_id: CONNECTION })};
  insert into sync_gaps (connection_id, gap_from, gap_until) values (${CONNECTION}, 'epoch', now());
  insert into sync_runs (job_id) values (${JOB});
  insert into import_parts (job_id, part_no, name) values (${JOB}, 0, 'a.json');
  ${batch({ batch_no: "0" })};
  insert into import_rows (job_id, part_no, position, verdict, reason, message) values (${JOB}, 0, 3, 'rejected', 'malformed', 'm');
  ${play({ source_key: key("aa") })};
  ${tombstone({ source_key: key("cc") })};
  ${override(key("aa"), key("bb"))};
  insert into stats_users (user_id, history_version, time_zone, build, built_at, build_ms) values (${U1}, 0, 'UTC', 1, now(), 0);
  ${STATS_YEAR};`;

/** constraint: statements that it must refuse. */
const REFUSED: Record<string, readonly string[]> = {
  users_email_once: [user("ONE@EXAMPLE.ORG", "three")],
  users_username_once: [user("three@example.org", "oNE")],
  users_country_code: [user("three@example.org", "three", "'nl'"), user("three@example.org", "three", "'N'")],
  users_erased_are_off: ["update users set erase_requested_at = now()"],
  sessions_counter_not_negative: [
    `insert into sessions (id, user_id, refresh_counter, refresh_key, expires_at)
     values (gen_random_uuid(), ${U1}, -1, ${HASH}, now())`,
  ],
  sessions_user_id_fkey: [
    `insert into sessions (id, user_id, refresh_key, expires_at) values (gen_random_uuid(), ${OTHER}, ${HASH}, now())`,
  ],
  api_tokens_hash_once: [
    `insert into api_tokens (id, user_id, name, token_hash, scopes) values (gen_random_uuid(), ${U2}, 'n', ${HASH}, '{read}')`,
  ],
  api_tokens_known_scopes: [
    "update api_tokens set scopes = '{read,everything}'",
    "update api_tokens set scopes = '{}'",
  ],
  api_tokens_user_id_fkey: [`update api_tokens set user_id = ${OTHER}`],
  invites_code_once: [
    `insert into invites (id, code_hash, expires_at) values (gen_random_uuid(), ${HASH}, now())`,
  ],
  idempotency_keys_once: [
    `insert into idempotency_keys (user_id, key, request_hash) values (${U1}, 'k', ${HASH})`,
  ],
  idempotency_keys_user_id_fkey: [`update idempotency_keys set user_id = ${OTHER}`],
  artists_once: ["insert into artists (name, name_key) values ('A again', 'a')"],
  artists_key_size: [
    "insert into artists (name, name_key) values ('', '')",
    "insert into artists (name, name_key) values ('x', repeat('é', 501))",
  ],
  artists_country_code: ["update artists set country = '12'"],
  albums_once: ["insert into albums (artist_id, title, title_key) values (10, 'L!', 'l')"],
  albums_key_size: [
    "insert into albums (artist_id, title, title_key) values (10, 'L', '')",
    "insert into albums (artist_id, title, title_key) values (10, 'L', repeat('x', 1001))",
  ],
  albums_release_date_form: [
    "update albums set release_date = '1999-1'",
    "update albums set release_date = '99'",
  ],
  albums_artist_id_fkey: [
    "insert into albums (artist_id, title, title_key) values (999, 'L', 'l')",
    "delete from listening_history; delete from tracks; delete from artists where id = 10",
  ],
  tracks_once: [
    "insert into tracks (id, artist_id, title, title_key, loose_key) overriding system value values (2, 10, 'T!', 't', 'x')",
  ],
  tracks_key_size: [
    "insert into tracks (artist_id, title, title_key, loose_key) values (10, '', '', 'x')",
    "update tracks set title_key = repeat('x', 1001)",
    "update tracks set album_key = repeat('x', 1001)",
  ],
  tracks_loose_key_size: ["update tracks set loose_key = repeat('x', 2401)"],
  tracks_duration_positive: ["update tracks set duration_ms = 0"],
  tracks_artist_id_fkey: [
    "insert into tracks (artist_id, title, title_key, loose_key) values (999, 'T', 't', 'x')",
  ],
  album_tracks_once: ["insert into album_tracks (album_id, track_id, position) values (5, 1, 7)"],
  album_tracks_album_id_fkey: ["insert into album_tracks (album_id, track_id) values (999, 1)"],
  album_tracks_track_id_fkey: ["insert into album_tracks (album_id, track_id) values (5, 999)"],
  track_artists_once: ["insert into track_artists (track_id, artist_id, position) values (1, 10, 2)"],
  track_artists_known_role: ["update track_artists set role = 'roadie'"],
  track_artists_artist_id_fkey: ["update track_artists set artist_id = 999"],
  track_artists_track_id_fkey: ["update track_artists set track_id = 999"],
  artist_aliases_key_size: [
    "insert into artist_aliases (name_key, artist_id) values ('', 10)",
    "insert into artist_aliases (name_key, artist_id) values (repeat('x', 1001), 10)",
  ],
  artist_aliases_artist_id_fkey: ["insert into artist_aliases (name_key, artist_id) values ('x', 999)"],
  album_aliases_key_size: [
    "insert into album_aliases (artist_id, title_key, album_id) values (10, '', 5)",
    "insert into album_aliases (artist_id, title_key, album_id) values (10, repeat('x', 1001), 5)",
  ],
  album_aliases_artist_id_fkey: [
    "insert into album_aliases (artist_id, title_key, album_id) values (999, 'x', 5)",
  ],
  album_aliases_album_id_fkey: [
    "insert into album_aliases (artist_id, title_key, album_id) values (10, 'x', 999)",
  ],
  track_aliases_key_size: [
    "insert into track_aliases (artist_id, title_key, track_id) values (10, '', 1)",
    "insert into track_aliases (artist_id, title_key, track_id) values (10, repeat('x', 1001), 1)",
    "insert into track_aliases (artist_id, title_key, album_key, track_id) values (10, 'x', repeat('x', 1001), 1)",
  ],
  track_aliases_artist_id_fkey: [
    "insert into track_aliases (artist_id, title_key, track_id) values (999, 'x', 1)",
  ],
  track_aliases_track_id_fkey: [
    "insert into track_aliases (artist_id, title_key, track_id) values (10, 'x', 999)",
  ],
  catalogue_merges_known_kind: [
    "insert into catalogue_merges (entity, old_id, into_id) values ('label', 1, 2)",
  ],
  catalogue_merges_not_itself: [
    "insert into catalogue_merges (entity, old_id, into_id) values ('track', 1, 1)",
  ],
  popularity_state_one_row: ["insert into popularity_state (id) values (2)"],
  external_ids_once: [
    "insert into external_ids (entity, provider, external_id, entity_id) values ('track', 'spotify', 'abc', 2)",
  ],
  external_ids_known_entity: ["update external_ids set entity = 'label'"],
  external_ids_known_provider: ["update external_ids set provider = 'fax'"],
  external_ids_size: [
    "update external_ids set external_id = ''",
    "update external_ids set external_id = repeat('x', 1001)",
  ],
  plays_once: [play({ source_key: key("aa") })],
  plays_key_size: [play({ source_key: "'\\x00'" }), play({ source_key: "sha256('x')" })],
  plays_ms_not_negative: [play({ ms_played: "-1" })],
  plays_start_range: [play({ start_earliest: "now() + interval '1 ms'" })],
  plays_not_own_duplicate: ["update listening_history set duplicate_of = id"],
  plays_user: [play({ user_id: OTHER })],
  plays_track: [play({ track_id: "999" }), play({ artist_id: "11" }), "delete from tracks"],
  plays_album: [play({ album_id: "999" })],
  plays_duplicate_of: [play({ duplicate_of: "999" })],
  deleted_plays_once: [tombstone({ source_key: key("cc") })],
  deleted_plays_key_size: [tombstone({ source_key: "'\\x00'" })],
  deleted_plays_loose_key_size: [tombstone({ loose_key: "repeat('x', 2401)" })],
  deleted_plays_start_range: [tombstone({ start_earliest: "now() + interval '1 ms'" })],
  deleted_plays_end_range: [
    tombstone({ end_earliest: "now()" }),
    tombstone({ end_latest: "now()" }),
    tombstone({ end_earliest: "now() + interval '1 ms'", end_latest: "now()" }),
  ],
  deleted_plays_user_id_fkey: [tombstone({ user_id: OTHER })],
  connections_once: [connection({ account: "me" })],
  connections_known_provider: [connection({ provider: "myspace" })],
  connections_known_status: ["update connections set status = 'odd'"],
  connections_interval: [
    "update connections set every_minutes = 0",
    "update connections set every_minutes = 44641",
  ],
  connections_token_has_key: [
    "update connections set access_token = '\\x00'",
    "update connections set refresh_token = '\\x00'",
  ],
  connections_user_id_fkey: [connection({ user: OTHER })],
  connections_proven_once: [
    connection({ user: U2, provider: "listenbrainz", account: "me", more: ", proven", values: ", true" }),
  ],
  connections_refusals: [
    "update connections set refusals = 1",
    "update connections set refused_since = now()",
    "update connections set refusals = -1, refused_since = now()",
  ],
  oauth_states_known_provider: [oauthState({ state_hash: "sha256('z')", provider: "'lastfm'" })],
  oauth_states_user_id_fkey: [oauthState({ state_hash: "sha256('z')", user_id: OTHER })],
  oauth_states_session_id_fkey: [oauthState({ state_hash: "sha256('z')", session_id: OTHER })],
  import_jobs_same_upload: [job({ sha256: HASH }), job({ sha256: HASH, status: "'paused'" })],
  import_jobs_open_sync: [
    job({ kind: "'sync'", connection_id: CONNECTION }),
    job({ kind: "'sync'", connection_id: CONNECTION, status: "'cancelling'" }),
  ],
  sync_gaps_not_empty: ["update sync_gaps set gap_until = gap_from"],
  sync_gaps_connection_id_fkey: [
    `insert into sync_gaps (connection_id, gap_from, gap_until) values (${OTHER}, 'epoch', now())`,
  ],
  sync_runs_not_negative: ["update sync_runs set failures = -1", "update sync_runs set pages = -1"],
  sync_runs_job_id_fkey: [`insert into sync_runs (job_id) values (${OTHER})`],
  import_jobs_workflow_once: [job({ workflow_id: "'import-1-1'" })],
  import_jobs_known_kind: [job({ kind: "'guess'" })],
  import_jobs_attempt: [job({ attempt: "0" })],
  import_jobs_batch_rows: [job({ batch_rows: "0" })],
  import_jobs_file_has_upload: [job({ sha256: "null" }), job({ size_bytes: "null" })],
  import_jobs_hash_size: [job({ sha256: "'\\x00'" })],
  import_jobs_user_id_fkey: [job({ user_id: OTHER })],
  import_jobs_connection_id_fkey: [job({ connection_id: OTHER })],
  import_parts_add_up: ["update import_parts set read = 1", "update import_parts set inserted = 1"],
  import_parts_not_negative: [
    "update import_parts set inserted = 1, skipped = -1",
    "update import_parts set linked = -1",
  ],
  import_parts_linked_of_inserted: ["update import_parts set linked = inserted + 1"],
  import_parts_job_id_fkey: [`insert into import_parts (job_id, part_no, name) values (${OTHER}, 0, 'a')`],
  import_batches_add_up: [batch({ read: "5" })],
  import_batches_not_negative: [batch({ rejected: "-1", read: "2" })],
  import_batches_every_row_listed: [
    batch({ claimed_ids: "'{1}'" }),
    batch({ claimed_positions: "'{0,1,2}'" }),
    batch({ claimed_reasons: "'{}'" }),
    batch({ skipped_positions: "'{}'" }),
    batch({ skipped_reasons: "'{1,1}'" }),
  ],
  import_parts_lost_attempts: ["update import_parts set lost_attempts = -1"],
  import_dry_keys_job_id_fkey: [
    `insert into import_dry_keys (job_id, source_key) values (${OTHER}, ${key("aa")})`,
  ],
  import_batches_part: [batch({ part_no: "1" })],
  import_rows_known_verdict: ["update import_rows set verdict = 'duplicate'"],
  import_rows_part: ["update import_rows set part_no = 1"],
  play_link_overrides_once: [override(key("aa"), key("bb"))],
  play_link_overrides_key_size: [override(key("aa"), "'\\x00'"), override("'\\x00'", key("aa"))],
  play_link_overrides_ordered: [override(key("bb"), key("aa")), override(key("aa"), key("aa"))],
  play_link_overrides_user_id_fkey: [override(key("aa"), key("bb"), OTHER)],
  stats_users_user: [`update stats_users set user_id = ${OTHER}`],
  stats_users_build_positive: ["update stats_users set build = 0", "update stats_users set build_ms = -1"],
  stats_years_user: [`update stats_years set user_id = ${OTHER}`],
  stats_years_not_empty: [
    "update stats_years set plays = 0",
    "update stats_years set last_at = first_at - interval '1 ms'",
    "update stats_years set private = 2",
    "update stats_years set private = -1",
  ],
  stats_years_year_range: ["update stats_years set year = -1", "update stats_years set year = 10000"],
  ...Object.fromEntries(
    ["artist", "album", "track", "day", "hour"].map((of, index) => [
      `stats_years_${of}_lists`,
      [`${STATS_LISTS[index]} = '{}'`, `${of}_plays = '{1,1}'`, `${of}_ms = '{}'`].map(
        (change) => `update stats_years set ${change}`,
      ),
    ]),
  ),
  stats_moves_user: [`insert into stats_moves (user_id) values (${OTHER})`],
  search_documents_known_entity: [
    "insert into search_documents (entity, entity_id, name, words, popularity, tier) values ('label', 1, 'x', '', 0, 0)",
  ],
  search_documents_known_tier: [
    "insert into search_documents (entity, entity_id, name, words, popularity, tier) values ('track', 1, 'x', '', 0, 3)",
  ],
  search_tiers_known_tier: ["insert into search_tiers (tier, min_popularity, max_id) values (2, 0, 0)"],
  link_changes_key_size: ["insert into link_changes (loose_key) values (repeat('x', 2401))"],
  search_changes_known_entity: [
    "insert into search_changes (entity, ids, renamed) values ('label', '{1}', false)",
  ],
};

/** Primary keys of one generated column, and a key that cannot be broken before the primary key is. */
const NOT_TRIED = /_pkey$|^tracks_of_artist$/;

describe("db/constraints", () => {
  let test: TestDatabase;
  let client: pg.PoolClient;

  before(async () => {
    test = await createTestDatabase();
    client = await test.database.pool.connect();
  });
  beforeEach(async () => {
    await client.query("begin");
    await client.query(BASE);
  });
  afterEach(() => client.query("rollback"));
  after(async () => {
    client.release();
    await test.drop();
  });

  for (const [constraint, statements] of Object.entries(REFUSED)) {
    it(`${constraint} refuses what it names`, async () => {
      for (const statement of statements) {
        await client.query("savepoint before");
        const outcome: unknown = await client.query(statement).catch((error: unknown) => error);
        await client.query("rollback to before");
        expect(outcome, statement).to.be.instanceOf(Error);
        expect(brokenConstraint(outcome), `${statement}: ${String(outcome)}`).to.equal(constraint);
      }
    });
  }

  it("has been tried to break in every promise the schema makes", async () => {
    const { rows } = await client.query<{ name: string }>(`
      select conname::text as name from pg_constraint
       where connamespace = 'public'::regnamespace and contype in ('c', 'f', 'p', 'u', 'x')
      union
      select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
       where indisunique and relnamespace = 'public'::regnamespace`);
    const names = rows
      .map(({ name }) => name)
      .filter((name) => !NOT_TRIED.test(name) && !name.startsWith("knex_"));
    expect(names.sort()).to.deep.equal(Object.keys(REFUSED).sort());
  });

  it("takes the same upload again once the first is closed, with other options, or from another user", async () => {
    await client.query(job({ sha256: HASH, options_hash: "sha256('other')" }));
    await client.query(
      job({ id: "gen_random_uuid()", sha256: HASH, user_id: U2, workflow_id: "'import-3-1'" }),
    );
    await client.query(`update import_jobs set status = 'completed' where id = ${JOB}`);
    await client.query(job({ id: "gen_random_uuid()", sha256: HASH, workflow_id: "'import-4-1'" }));
  });

  it("takes the same source row from two users, and two tracks in one second from one", async () => {
    await client.query(play({ user_id: U2, source_key: key("aa") }));
    await client.query(play({ source_key: key("ab") }));
    const { rows } = await client.query("select count(*) as n from listening_history");
    expect(rows).to.deep.equal([{ n: 3 }]);
  });

  it("tells plays apart under the reserved artist by album, and under others not", async () => {
    const insert = "insert into tracks (artist_id, title, title_key, album_key, loose_key)";
    await client.query(`${insert} select id, 'T', 't', album, 't' from artists, unnest('{"",l,m}'::text[]) album
      where name_key = '[unknown]'`);
    const { rows } = await client.query("select count(*) as n from tracks where title_key = 't'");
    expect(rows).to.deep.equal([{ n: 4 }]);
  });

  it("has room in its indexes for the longest key that it accepts", async () => {
    const long = (n: number) =>
      `(select string_agg(md5(i::text), '') from generate_series(1, ${n / 32 + 1}) i)`;
    await client.query(`update tracks set title_key = left(${long(1000)}, 1000), album_key = left(${long(1000)}, 1000),
      loose_key = left(${long(2400)}, 2400)`);
    await client.query(`update artists set name_key = left(${long(1000)}, 1000) where id = 11`);
    await client.query(tombstone({ loose_key: `left(${long(2400)}, 2400)` }));
    await client.query(`update external_ids set external_id = left(${long(1000)}, 1000)`);
  });
});
