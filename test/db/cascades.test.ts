import { expect } from "chai";
import type pg from "pg";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";

const ANN = "018f0000-0000-7000-8000-000000000001";
const BOB = "018f0000-0000-7000-8000-000000000002";

/** Everything a user can have, for both users; plays of Ann's on one track, the second linked to the first. */
const BASE = `
  insert into users (id, email, username, password_hash) values ('${ANN}', 'a@x', 'ann', 'x'), ('${BOB}', 'b@x', 'bob', 'x');
  insert into artists (id, name, name_key) overriding system value values (10, 'A', 'a'), (11, 'B', 'b');
  insert into albums (id, artist_id, title, title_key) overriding system value values (5, 10, 'L', 'l'), (6, 10, 'M', 'm');
  insert into tracks (id, artist_id, title, title_key, loose_key) overriding system value
    values (1, 10, 'T', 't', 'a t'), (2, 10, 'U', 'u', 'a u');
  insert into album_tracks (album_id, track_id) values (5, 1), (6, 1), (6, 2);
  insert into track_artists (track_id, artist_id, position) values (1, 10, 0), (2, 11, 0);
  insert into external_ids (entity, provider, external_id, entity_id) values
    ('track', 'spotify', 't1', 1), ('track', 'spotify', 't2', 2), ('album', 'spotify', 'l5', 5),
    ('album', 'spotify', 'm6', 6), ('artist', 'spotify', 'b11', 11), ('artist', 'spotify', 'a10', 10);
  insert into sessions (id, user_id, refresh_key, expires_at) select gen_random_uuid(), id, '\\x00', now() from users;
  insert into api_tokens (id, user_id, name, token_hash, scopes) select gen_random_uuid(), id, 'n', sha256(username::bytea), '{read}' from users;
  insert into idempotency_keys (user_id, key, request_hash) select id, 'k', '\\x00' from users;
  insert into connections (id, user_id, provider, account) select gen_random_uuid(), id, 'spotify', 'me' from users;
  insert into oauth_states (state_hash, user_id, session_id, provider, verifier, verifier_key_id)
    select sha256(user_id::text::bytea), user_id, id, 'spotify', '\\x00', 'k' from sessions;
  insert into import_jobs (id, user_id, connection_id, kind, size_bytes, sha256, options_hash, batch_rows, workflow_id)
    select gen_random_uuid(), u.id, c.id, 'file', 1, sha256('f'), '\\x00', 10, 'import-' || u.id from users u join connections c on c.user_id = u.id;
  insert into sync_gaps (connection_id, gap_from, gap_until) select id, 'epoch', now() from connections;
  insert into sync_runs (job_id) select id from import_jobs;
  insert into import_parts (job_id, part_no, name) select id, 0, 'a.json' from import_jobs;
  insert into import_batches (job_id, part_no, batch_no, read, inserted, duplicate, skipped, rejected, reasons,
      claimed_ids, claimed_positions, claimed_reasons, skipped_positions, skipped_reasons, first_position)
    select id, 0, 0, 0, 0, 0, 0, 0, '{}', '{}', '{}', '{}', '{}', '{}', 0 from import_jobs;
  insert into import_dry_keys (job_id, source_key) select id, '\\x00' from import_jobs;
  insert into import_rows (job_id, part_no, position, verdict, reason, message) select id, 0, 0, 'rejected', 'malformed', 'm' from import_jobs;
  insert into listening_history (id, user_id, track_id, artist_id, album_id, played_at, start_earliest, start_latest, precision,
      source, counted, source_key, import_job_id, duplicate_of) overriding system value
    select n, u.id, 1, 10, 5, now(), now(), now(), 'second'::time_precision, 'manual'::play_source, true, decode(md5(n::text), 'hex'), j.id, null::bigint
      from users u join import_jobs j on j.user_id = u.id, generate_series(1, 2) n where username = 'ann'
    union all
    select 3, u.id, 2, 10, 6, now(), now(), now(), 'second'::time_precision, 'manual'::play_source, true, decode(md5('3'), 'hex'), j.id, null::bigint
      from users u join import_jobs j on j.user_id = u.id where username = 'bob';
  update listening_history set duplicate_of = 1 where id = 2;
  insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest)
    select id, decode(md5('d'), 'hex'), 'manual', 'k', now(), now() from users;
  insert into play_link_overrides (user_id, first_key, second_key)
    select id, decode(repeat('0a', 16), 'hex'), decode(repeat('0b', 16), 'hex') from users;
  insert into stats_users (user_id, history_version, time_zone, build, built_at, build_ms) select id, 0, 'UTC', 1, now(), 0 from users;
  insert into stats_years (user_id, year, fingerprint, first_at, last_at, plays, ms_played, private, artist_ids, artist_plays, artist_ms,
      album_ids, album_plays, album_ms, track_ids, track_plays, track_ms, days, day_plays, day_ms, hours, hour_plays, hour_ms)
    select id, 0, 0, now(), now(), 1, 1, 0${", '{}'".repeat(15)} from users;
  insert into stats_moves (user_id) select id from users;`;

describe("db/cascades", () => {
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

  const select = async (sql: string): Promise<pg.QueryResultRow[]> =>
    (await client.query<pg.QueryResultRow>(sql)).rows;

  it("leaves nothing personal behind when a user goes, and nothing of others touched", async () => {
    // Every table in which a row can be traced to a user, found in the catalogue so that a new one is not forgotten.
    const tables = (await select(`
      with recursive personal as (
        select 'users'::regclass::oid as id
        union select conrelid from pg_constraint join personal on confrelid = personal.id where contype = 'f'
      ) select id::regclass::text as name from personal order by 1`)) as { name: string }[];
    const counts = async () => {
      const found: Record<string, number> = {};
      for (const { name } of tables) {
        found[name] = (await select(`select count(*) as n from ${name}`))[0]?.["n"] as number;
      }
      return found;
    };
    const before = await counts();
    expect(Object.keys(before)).to.include.members([
      "listening_history",
      "deleted_plays",
      "import_rows",
      "sessions",
    ]);
    for (const [table, n] of Object.entries(before)) expect(n, table).to.be.at.least(2);

    await client.query("delete from users where username = 'ann'");
    const after = await counts();
    for (const [table, n] of Object.entries(after)) expect(n, table).to.equal(1);
    const traces =
      await select(`select table_name::text as t, column_name::text as c from information_schema.columns
      where table_schema = 'public' and column_name = 'user_id'`);
    for (const { t } of traces) {
      expect(await select(`select from ${t} where user_id = '${ANN}'`), t).to.deep.equal([]);
    }

    await client.query("delete from users");
    expect(Object.values(await counts()).reduce((sum, n) => sum + n)).to.equal(0);
    expect(await select("select count(*) as n from tracks")).to.deep.equal([{ n: 2 }]);
  });

  it("keeps a track that somebody played, and lets go of one that nobody did", async () => {
    await client.query("savepoint s");
    const refused: unknown = await client
      .query("delete from tracks where id = 2")
      .catch((error: unknown) => error);
    expect(refused).to.have.property("constraint", "plays_track");
    await client.query("rollback to s");
    await client.query("delete from listening_history where track_id = 2; delete from tracks where id = 2");
    expect(
      await select("select track_id from album_tracks union select track_id from track_artists"),
    ).to.deep.equal([{ track_id: 1 }]);
  });

  it("keeps the plays of an album that goes, without their album", async () => {
    await client.query("delete from albums where id = 5");
    expect(await select("select id, album_id from listening_history order by id")).to.deep.equal([
      { id: 1, album_id: null },
      { id: 2, album_id: null },
      { id: 3, album_id: 6 },
    ]);
    expect(await select("select count(*) as n from album_tracks where track_id = 1")).to.deep.equal([
      { n: 1 },
    ]);
  });

  it("moves the plays of a track along when the track moves to another artist", async () => {
    await client.query("update tracks set artist_id = 11 where id = 1");
    expect(await select("select id, track_id, artist_id from listening_history order by id")).to.deep.equal([
      { id: 1, track_id: 1, artist_id: 11 },
      { id: 2, track_id: 1, artist_id: 11 },
      { id: 3, track_id: 2, artist_id: 10 },
    ]);
  });

  it("merges two artists by moving what belongs to one of them", async () => {
    await client.query("update track_artists set artist_id = 11 where artist_id = 10");
    await client.query("update tracks set artist_id = 11 where artist_id = 10");
    await client.query("update albums set artist_id = 11 where artist_id = 10");
    await client.query("update external_ids set entity_id = 11 where entity = 'artist' and entity_id = 10");
    await client.query("delete from artists where id = 10");
    expect(await select("select distinct artist_id from listening_history")).to.deep.equal([
      { artist_id: 11 },
    ]);
    expect(
      await select("select external_id from external_ids where entity = 'artist' order by 1"),
    ).to.deep.equal([{ external_id: "a10" }, { external_id: "b11" }]);
  });

  it("merges two tracks by moving the plays of one of them", async () => {
    await client.query("update listening_history set track_id = 1 where track_id = 2");
    await client.query("delete from tracks where id = 2");
    expect(await select("select count(*) as n from listening_history where track_id = 1")).to.deep.equal([
      { n: 3 },
    ]);
  });

  it("unlinks the other sightings of a play that goes", async () => {
    await client.query("delete from listening_history where id = 1");
    expect(
      await select(`select id, duplicate_of from listening_history where user_id = '${ANN}'`),
    ).to.deep.equal([{ id: 2, duplicate_of: null }]);
  });

  it("forgets the strong ids of what goes, and only those", async () => {
    await client.query(
      "delete from listening_history; delete from tracks where id = 1; delete from albums where id = 5",
    );
    const left = await select("select external_id as id from external_ids order by 1");
    expect(left.map(({ id }) => id as string)).to.deep.equal(["a10", "b11", "m6", "t2"]);
    await client.query("delete from tracks; delete from albums; delete from artists where id in (10, 11)");
    expect(await select("select external_id from external_ids")).to.deep.equal([]);
  });

  it("keeps an import whose connection goes", async () => {
    await client.query(`delete from connections where user_id = '${ANN}'`);
    expect(await select(`select connection_id from import_jobs where user_id = '${ANN}'`)).to.deep.equal([
      { connection_id: null },
    ]);
  });

  it("keeps on a play the import it came from, whatever becomes of that", async () => {
    const [before] = await select("select import_job_id from listening_history where id = 1");
    await client.query(`delete from import_jobs where user_id = '${ANN}'`);
    expect(await select("select import_job_id from listening_history where id = 1")).to.deep.equal([before]);
    expect(await select("select count(*) as n from import_batches")).to.deep.equal([{ n: 1 }]);
  });

  it("holds one reserved artist from the start", async () => {
    expect(await select("select name from artists where name_key = '[unknown]'")).to.deep.equal([
      { name: "[unknown]" },
    ]);
  });
});
