import { expect } from "chai";
import type pg from "pg";
import { sqlState } from "../../../../db/errors.js";
import type { Play } from "../../../../services/import/types.js";
import { FIND_DELETED, FIND_PLAYS, writePlays } from "../../../../services/import/writing/plays.js";
import type { PlacedPlay } from "../../../../services/import/writing/plays.js";
import { createTestDatabase } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { untilBlocked } from "../../../support/locks.js";
import { insertUser } from "../../../support/users.js";

const AT = Date.parse("2021-03-04T05:06:07.089Z");
const JOB = "018f0000-0000-7000-8000-00000000000a";
const OTHER_JOB = "018f0000-0000-7000-8000-00000000000b";

describe("writing the plays of a batch", () => {
  let db: TestDatabase;
  let ids: PlacedPlay["ids"];
  before(async () => {
    db = await createTestDatabase();
    const made = await pool().query<{ trackId: number; artistId: number; albumId: number }>(
      `with a as (insert into artists (name, name_key) values ('A', 'a') returning id),
            b as (insert into albums (artist_id, title, title_key) select id, 'B', 'b' from a returning id)
       insert into tracks (artist_id, title, title_key, loose_key) select id, 'T', 't', 't' from a
       returning id as "trackId", artist_id as "artistId", (select id from b) as "albumId"`,
    );
    ids = made.rows[0]!;
  });
  after(() => db.drop());

  const pool = (): pg.Pool => db.database.pool;

  const placed = (n: number, fields: Partial<Play> = {}): PlacedPlay => ({
    position: n,
    ids,
    play: {
      source: "spotify-extended",
      sourceKey: Buffer.from(n.toString(16).padStart(32, "0"), "hex"),
      playedAt: AT,
      endedAt: AT + 1000,
      startEarliest: AT - 1000,
      startLatest: AT + 500,
      precision: "second",
      msPlayed: 1000,
      durationMs: null,
      counted: true,
      title: "T",
      artist: "A",
      album: "B",
      trackId: null,
      context: null,
      ...fields,
    },
  });

  const inTransaction = async <T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> => {
    const client = await pool().connect();
    try {
      await client.query("begin");
      const result = await work(client);
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback");
      throw error;
    } finally {
      client.release();
    }
  };

  it("stores every value of a play as it was given", async () => {
    const userId = await insertUser(pool());
    const sourceKey = Buffer.from("00ff7f80010203fefdfc0a0d095c5c27", "hex");
    const context = { platform: "Ünïx \\ \t \n 日本 🎧", shuffle: true, place: 3 };
    const first = placed(0, { sourceKey, context, msPlayed: 2 ** 31 - 1, durationMs: 0, counted: false });
    const old = {
      playedAt: Date.UTC(1999, 11, 31, 23, 59, 59, 999),
      precision: "day",
      source: "lastfm",
    } as const;
    const second = placed(1, {
      ...old,
      startEarliest: old.playedAt - 1,
      startLatest: old.playedAt,
      endedAt: null,
      msPlayed: null,
    });
    const claims = await inTransaction((client) =>
      writePlays(client, { userId, jobId: JOB }, [first, { ...second, ids: { ...ids, albumId: null } }]),
    );
    const { rows } = await pool().query<Record<string, unknown>>(
      `select id, encode(source_key, 'hex') as key, track_id, artist_id, album_id, played_at, ended_at, start_earliest,
              start_latest, ms_played, duration_ms, precision, source, counted, context, import_job_id, version
         from listening_history where user_id = $1 order by played_at desc`,
      [userId],
    );
    expect(rows).to.deep.equal([
      {
        id: claims.ids[0],
        key: sourceKey.toString("hex"),
        track_id: ids.trackId,
        artist_id: ids.artistId,
        album_id: ids.albumId,
        played_at: new Date(AT),
        ended_at: new Date(AT + 1000),
        start_earliest: new Date(AT - 1000),
        start_latest: new Date(AT + 500),
        ms_played: 2 ** 31 - 1,
        duration_ms: 0,
        precision: "second",
        source: "spotify-extended",
        counted: false,
        context,
        import_job_id: JOB,
        version: 1,
      },
      {
        id: claims.ids[1],
        key: second.play.sourceKey.toString("hex"),
        track_id: ids.trackId,
        artist_id: ids.artistId,
        album_id: null,
        played_at: new Date(old.playedAt),
        ended_at: null,
        start_earliest: new Date(old.playedAt - 1),
        start_latest: new Date(old.playedAt),
        ms_played: null,
        duration_ms: null,
        precision: "day",
        source: "lastfm",
        counted: true,
        context: null,
        import_job_id: JOB,
        version: 1,
      },
    ]);
  });

  it("keeps rows whose context is larger than any piece that is sent", async () => {
    const userId = await insertUser(pool());
    const plays = [1, 200_000, 3, 90_000, 5].map((length, n) =>
      placed(n, { context: { platform: "é".repeat(length) } }),
    );
    await inTransaction((client) => writePlays(client, { userId, jobId: JOB }, plays));
    const { rows } = await pool().query(
      "select length(context->>'platform') as length from listening_history where user_id = $1 order by source_key",
      [userId],
    );
    expect(rows.map((row: { length: number }) => row.length)).to.deep.equal([1, 200_000, 3, 90_000, 5]);
  });

  it("waits for another import that brings some of the rows, and adds just the others", async () => {
    const userId = await insertUser(pool());
    const [ours, theirs] = [await pool().connect(), await pool().connect()];
    try {
      await Promise.all([ours.query("begin"), theirs.query("begin")]);
      const firsts = await writePlays(theirs, { userId, jobId: OTHER_JOB }, [placed(3), placed(5)]);
      const pending = writePlays(
        ours,
        { userId, jobId: JOB },
        [6, 5, 4, 3, 6].map((n) => placed(n)),
      );
      await untilBlocked(pool());
      await theirs.query("commit");
      const claims = await pending;
      await ours.query("commit");

      expect(claims.reasons).to.deep.equal([0, 2, 0, 2, 1]);
      expect([claims.ids[1], claims.ids[3]]).to.deep.equal([firsts.ids[1], firsts.ids[0]]);
      const { rows } = await pool().query<{ id: number; import_job_id: string }>(
        "select id, import_job_id from listening_history where user_id = $1 order by source_key",
        [userId],
      );
      expect(rows).to.deep.equal([
        { id: firsts.ids[0], import_job_id: OTHER_JOB },
        { id: claims.ids[2], import_job_id: JOB },
        { id: firsts.ids[1], import_job_id: OTHER_JOB },
        { id: claims.ids[0], import_job_id: JOB },
      ]);
    } finally {
      ours.release(true);
      theirs.release(true);
    }
  });

  it("adds all rows when the other import that brought some of them is rolled back", async () => {
    const userId = await insertUser(pool());
    const [ours, theirs] = [await pool().connect(), await pool().connect()];
    try {
      await Promise.all([ours.query("begin"), theirs.query("begin")]);
      await writePlays(theirs, { userId, jobId: OTHER_JOB }, [placed(1)]);
      const pending = writePlays(ours, { userId, jobId: JOB }, [placed(1), placed(2)]);
      await untilBlocked(pool());
      await theirs.query("rollback");
      expect((await pending).reasons).to.deep.equal([0, 0]);
      await ours.query("commit");
    } finally {
      ours.release(true);
      theirs.release(true);
    }
  });

  it("refuses a number that its column cannot hold as the database would", async () => {
    const userId = await insertUser(pool());
    for (const fields of [{ msPlayed: 2 ** 31 }, { durationMs: 1.5 }, { playedAt: NaN }]) {
      const failure = await inTransaction((client) =>
        writePlays(client, { userId, jobId: JOB }, [placed(1, fields), placed(2)]),
      ).then(
        () => null,
        (error: unknown) => error,
      );
      expect(sqlState(failure), JSON.stringify(fields)).to.equal("22003");
    }
    const { rowCount } = await pool().query("select 1 from listening_history where user_id = $1", [userId]);
    expect(rowCount).to.equal(0);
  });

  it("probes the unique indexes key by key, however many keys there are, and also for a user whom no statistics know", async function () {
    this.timeout(60_000);
    const user = await insertUser(pool());
    await pool().query(
      `insert into listening_history (user_id, track_id, artist_id, played_at, start_earliest, start_latest, precision,
         source, counted, source_key)
       select $1, $2, $3, at, at, at, 'second', 'manual', true, int4send(n) || substr(sha256(int4send(n)), 1, 12)
         from generate_series(1, 100000) n, lateral (select timestamptz '2001-01-01' + n * interval '1 minute' as at) x`,
      [user, ids.trackId, ids.artistId],
    );
    await pool().query(
      `insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest)
       select user_id, source_key, source, 'k', start_earliest, start_latest from listening_history where user_id = $1`,
      [user],
    );
    await pool().query("analyze listening_history, deleted_plays");
    const stranger = await insertUser(pool());
    for (const [sql, index, more] of [
      [FIND_PLAYS, "plays_once", [JOB]],
      [FIND_DELETED, "deleted_plays_once", []],
    ] as const) {
      for (const [who, count] of [user, stranger].flatMap((id) =>
        [10, 10_000].map((n) => [id, n] as const),
      )) {
        const values = [who, Buffer.alloc(16 * count), ...more];
        const plan = await pool().query<{ "QUERY PLAN": string }>(`explain ${sql}`, values);
        const text = plan.rows.map((row) => row["QUERY PLAN"]).join("\n");
        expect(text).to.match(/Nested Loop/);
        expect(text).to.match(
          new RegExp(`using ${index} on [^\n]*\n +Index Cond: .*user_id = .*source_key = `),
        );
        expect(text).not.to.match(/Hash|Merge Join/);
      }
    }
  });
});
