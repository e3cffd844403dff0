import { expect } from "chai";
import type pg from "pg";
import { createDatabase } from "../../../../db/knex.js";
import { createTestDatabase, databaseSettings } from "../../../support/database.js";
import type { TestDatabase } from "../../../support/database.js";
import { heapMegabytes } from "../../../support/memory.js";
import { rejection } from "../../../support/rejection.js";
import { startTcpProxy } from "../../../support/tcpProxy.js";
import { insertUser } from "../../../support/users.js";
import { spotifyExtended } from "../../../../services/import/formats/spotifyExtended.js";
import { BatchCommitter } from "../../../../services/import/writing/BatchCommitter.js";
import type { BatchOutcome, JudgedBatch, PlayRecord } from "../../../../services/import/writing/batch.js";
import { CatalogueResolver } from "../../../../services/import/writing/resolver.js";
import { createBench, digestOf, json, play, plays } from "../importing.js";
import type { ImportBench } from "../importing.js";

const NOW = Date.parse("2026-01-01T00:00:00Z");

function asPlays(records: readonly unknown[], from = 0): PlayRecord[] {
  return records.map((record, index) => {
    const verdict = spotifyExtended.judge(record, { name: "x.json", includeIncognito: false, now: NOW });
    if (verdict.verdict !== "play") throw new Error("the test's record is no play");
    return { position: from + index, play: verdict.play };
  });
}

describe("committing a batch", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let committer: BatchCommitter;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    committer = new BatchCommitter({ pool: db.database.pool });
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = (): pg.Pool => db.database.pool;

  /** A running job of one part, ready for batches. */
  async function runningJob(userId: string): Promise<string> {
    const id = await bench.job(userId, json(plays(1)));
    await bench.steps.prepare({ importId: id, attempt: 1 }, bench.context());
    return id;
  }

  const batch = (userId: string, jobId: string, records: readonly unknown[], batchNo = 0): JudgedBatch => ({
    jobId,
    userId,
    attempt: 1,
    partNo: 0,
    batchNo,
    firstPosition: batchNo * 100,
    plays: asPlays(records, batchNo * 100),
    skipped: [],
    rejected: [],
    bytesRead: 1000,
  });

  const commit = (one: JudgedBatch): Promise<BatchOutcome> =>
    committer.commit(one, new CatalogueResolver(pool()));

  const claims = async (jobId: string) =>
    (
      await pool().query<{ claimed_ids: number[]; claimed_positions: number[]; claimed_reasons: number[] }>(
        "select claimed_ids, claimed_positions, claimed_reasons from import_batches where job_id = $1 order by batch_no",
        [jobId],
      )
    ).rows;

  it("counts a batch once when it is committed twice, one after the other", async () => {
    const user = await insertUser(pool());
    const one = batch(user, await runningJob(user), plays(40));
    expect(await commit(one)).to.deep.equal({
      outcome: "committed",
      counts: { read: 40, inserted: 40, duplicate: 0, skipped: 0, rejected: 0 },
      reasons: { duplicate: {}, skipped: {}, rejected: {} },
    });
    expect(await commit(one)).to.deep.equal({ outcome: "already" });
    const part = await pool().query("select read, inserted from import_parts where job_id = $1", [one.jobId]);
    expect(part.rows).to.deep.equal([{ read: 40, inserted: 40 }]);
  });

  it("counts a batch once when it is committed five times at once", async () => {
    const user = await insertUser(pool());
    const one = batch(user, await runningJob(user), plays(200));
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => commit(one)));
    expect(outcomes.map((outcome) => outcome.outcome).sort()).to.deep.equal([
      "already",
      "already",
      "already",
      "already",
      "committed",
    ]);
    const part = await pool().query("select read, inserted from import_parts where job_id = $1", [one.jobId]);
    expect(part.rows).to.deep.equal([{ read: 200, inserted: 200 }]);
    expect((await digestOf(pool(), user)).rows).to.equal(200);
  });

  it("finds a batch in whose COMMIT was executed but never confirmed", async () => {
    let lost: Promise<Buffer> | undefined;
    const proxy = await startTcpProxy(db.url, {
      onClientBytes: (bytes, connection) => {
        if (bytes.includes("commit\0")) lost ??= connection.loseAnswer();
      },
    });
    const settings = databaseSettings(proxy.through(db.url));
    const far = createDatabase(settings, { applicationName: "playlog-test-lost-answer" });
    try {
      const user = await insertUser(pool());
      const one = batch(user, await runningJob(user), plays(40));
      const losing = new BatchCommitter({ pool: far.pool });
      await rejection(losing.commit(one, new CatalogueResolver(pool())));
      expect((await lost)?.toString("latin1")).to.include("COMMIT\0");
      expect(await losing.commit(one, new CatalogueResolver(pool()))).to.deep.equal({ outcome: "already" });
      const part = await pool().query("select read, inserted from import_parts where job_id = $1", [
        one.jobId,
      ]);
      expect(part.rows).to.deep.equal([{ read: 40, inserted: 40 }]);
      expect((await digestOf(pool(), user)).rows).to.equal(40);
    } finally {
      await far.close();
      await proxy.close();
    }
  });

  it("gives each record the play it stands for, and why it added none", async () => {
    const user = await insertUser(pool());
    const first = await runningJob(user);
    await commit(batch(user, first, [play(1), play(2), play(3)]));
    await pool().query(
      `insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest)
       select user_id, source_key, source, 'k', start_earliest, start_latest from listening_history
        where user_id = $1 and played_at = (select max(played_at) from listening_history where user_id = $1)`,
      [user],
    );
    await pool().query(
      "delete from listening_history h using deleted_plays d where (h.user_id, h.source_key) = (d.user_id, d.source_key)",
    );

    const second = await runningJob(user);
    await commit(batch(user, second, [play(3), play(4), play(1), play(4), play(1)]));
    await commit(batch(user, second, [play(4), play(5)], 1));

    const ids = new Map(
      (
        await pool().query<{ id: number; n: number }>(
          "select id, ((extract(epoch from ended_at) - 1577836800) / 300)::int as n from listening_history where user_id = $1",
          [user],
        )
      ).rows.map(({ id, n }) => [n, id]),
    );
    expect([...ids.keys()].sort()).to.deep.equal([1, 2, 4, 5]);
    expect(await claims(second)).to.deep.equal([
      {
        claimed_ids: [0, ids.get(4), ids.get(1), ids.get(4), ids.get(1)],
        claimed_positions: [0, 1, 2, 3, 4],
        claimed_reasons: [3, 0, 2, 1, 2], // deleted, inserted, already there, same row, already there
      },
      { claimed_ids: [ids.get(4), ids.get(5)], claimed_positions: [100, 101], claimed_reasons: [1, 0] },
    ]);
    expect((await claims(first))[0]!.claimed_reasons).to.deep.equal([0, 0, 0]);
  });

  it("lets two imports of the same rows in opposite order both finish with one set of rows", async () => {
    const user = await insertUser(pool());
    const records = plays(400);
    const [forwards, backwards] = [await runningJob(user), await runningJob(user)];
    const slices = [0, 1, 2, 3].map((n) => records.slice(n * 100, n * 100 + 100));
    const run = async (jobId: string, order: readonly (readonly unknown[])[]) => {
      for (const [batchNo, slice] of order.entries()) await commit(batch(user, jobId, slice, batchNo));
    };
    await Promise.all([
      run(forwards, slices),
      run(
        backwards,
        [...slices].reverse().map((slice) => [...slice].reverse()),
      ),
    ]);

    expect((await digestOf(pool(), user)).rows).to.equal(400);
    const sums = await pool().query(
      `select sum(read)::bigint as read, sum(inserted)::bigint as inserted, sum(duplicate)::bigint as duplicate
         from import_parts where job_id in ($1, $2)`,
      [forwards, backwards],
    );
    expect(sums.rows[0]).to.deep.equal({ read: 800, inserted: 400, duplicate: 400 });
  });

  it("makes one catalogue row of a name that many imports bring at once", async () => {
    const records = Array.from({ length: 60 }, (_, n) =>
      play(n, {
        artist: `Shared ${n % 20}`,
        title: `Song ${n}`,
        uri: `spotify:track:${String(7000 + n).padStart(22, "0")}`,
      }),
    );
    const users = await Promise.all([0, 1, 2, 3].map(() => insertUser(pool())));
    const jobs = await Promise.all(users.map(runningJob));
    await Promise.all(
      users.map((user, n) => commit(batch(user, jobs[n]!, n % 2 === 0 ? records : [...records].reverse()))),
    );
    const artists = await pool().query("select count(*)::int as n from artists where name like 'Shared %'");
    const tracks = await pool().query("select count(*)::int as n from tracks where title like 'Song %'");
    const externals = await pool().query(
      "select count(*)::int as n, count(distinct entity_id)::int as d from external_ids where external_id like '%00000000070__'",
    );
    expect([artists.rows[0], tracks.rows[0], externals.rows[0]]).to.deep.equal([
      { n: 20 },
      { n: 60 },
      { n: 60, d: 60 },
    ]);
    const digests = await Promise.all(users.map((user) => digestOf(pool(), user)));
    expect(new Set(digests.map((each) => each.digest)).size).to.equal(1);
  });

  it("lets a known external id decide before any text does", async () => {
    const user = await insertUser(pool());
    const uri = `spotify:track:${"z".repeat(22)}`;
    const jobId = await runningJob(user);
    await commit(batch(user, jobId, [play(1, { artist: "Old Name", title: "Song", uri })]));
    await commit(batch(user, jobId, [play(2, { artist: "New Name", title: "Song (2020)", uri })], 1));
    const tracks = await pool().query(
      "select count(distinct track_id)::int as n from listening_history where user_id = $1",
      [user],
    );
    expect(tracks.rows[0]).to.deep.equal({ n: 1 });
  });

  it("does not fill the memory of the process with names of extreme length", async () => {
    const resolver = new CatalogueResolver(pool());
    const long = (n: number) => `${n} ${"x".repeat(4000)}`;
    const describe = (n: number) => ({
      artist: "Endless",
      title: long(n),
      album: long(n),
      trackId: null,
      durationMs: null,
    });
    await resolver.resolve([describe(0)]);
    const before = heapMegabytes();
    for (let from = 0; from < 2000; from += 200)
      await resolver.resolve(Array.from({ length: 200 }, (_, n) => describe(from + n)));
    expect(heapMegabytes() - before).to.be.below(5);
  });

  it("rejects exactly the rows the database refuses and keeps the others", async () => {
    const user = await insertUser(pool());
    const jobId = await runningJob(user);
    await pool().query(
      "alter table listening_history add constraint test_refuses check (ms_played not in (666, 667))",
    );
    try {
      const records = plays(90).map((_, n) => play(n, n === 17 ? { ms: 666 } : n === 71 ? { ms: 667 } : {}));
      const outcome = await commit(batch(user, jobId, records));
      expect(outcome).to.deep.equal({
        outcome: "committed",
        counts: { read: 90, inserted: 88, duplicate: 0, skipped: 0, rejected: 2 },
        reasons: { duplicate: {}, skipped: {}, rejected: { database: 2 } },
      });
    } finally {
      await pool().query("alter table listening_history drop constraint test_refuses");
    }
    const rows = await pool().query<{ position: number; reason: string; message: string; excerpt: string }>(
      "select position, reason, message, excerpt from import_rows where job_id = $1 order by position",
      [jobId],
    );
    expect(rows.rows.map((row) => [row.position, row.reason])).to.deep.equal([
      [17, "database"],
      [71, "database"],
    ]);
    expect(rows.rows[0]!.message).to.equal("The database refused the record (23514, test_refuses)");
    expect(JSON.parse(rows.rows[0]!.excerpt)).to.include({ msPlayed: 666 });
  });

  it("rejects rows whose names the catalogue refuses", async () => {
    const user = await insertUser(pool());
    const jobId = await runningJob(user);
    await pool().query("alter table tracks add constraint test_refuses check (title <> 'Cursed')");
    try {
      const outcome = await commit(
        batch(user, jobId, [
          play(1, { title: "Fine", uri: "" }),
          play(2, { title: "Cursed", uri: "" }),
          play(3),
        ]),
      );
      expect(outcome).to.deep.include({
        counts: { read: 3, inserted: 2, duplicate: 0, skipped: 0, rejected: 1 },
      });
    } finally {
      await pool().query("alter table tracks drop constraint test_refuses");
    }
  });

  it("looks a track up again that was merged away while it was remembered", async () => {
    const user = await insertUser(pool());
    const jobId = await runningJob(user);
    const resolver = new CatalogueResolver(pool());
    const fields = { artist: "Gone", title: "Soon", uri: "" };
    await committer.commit(batch(user, jobId, [play(1, fields)]), resolver);
    await pool().query("delete from listening_history where user_id = $1", [user]);
    await pool().query("delete from tracks where title = 'Soon'");
    const outcome = await committer.commit(batch(user, jobId, [play(2, fields)], 1), resolver);
    expect(outcome).to.deep.include({
      counts: { read: 1, inserted: 1, duplicate: 0, skipped: 0, rejected: 0 },
    });
  });

  it("writes nothing for a job that is cancelling, paused, closed, of another attempt, or gone", async () => {
    const user = await insertUser(pool());
    const jobId = await runningJob(user);
    const one = batch(user, jobId, plays(5));
    const as = async (set: string) => {
      await pool().query(`update import_jobs set ${set} where id = $1`, [jobId]);
      return commit(one);
    };
    expect(await as("status = 'cancelling'")).to.deep.equal({ outcome: "stopped", why: "cancelling" });
    expect(await as("status = 'paused'")).to.deep.equal({ outcome: "stopped", why: "paused" });
    expect(await as("status = 'failed'")).to.deep.equal({ outcome: "stopped", why: "closed" });
    expect(await as("status = 'running', attempt = 2")).to.deep.equal({ outcome: "stopped", why: "closed" });
    await pool().query("delete from users where id = $1", [user]);
    expect(await commit(one)).to.deep.equal({ outcome: "stopped", why: "owner_gone" });
    const left = await pool().query("select 1 from import_batches where job_id = $1", [jobId]);
    expect(left.rowCount).to.equal(0);
  });

  it("does not write a batch that was in flight when its job was closed", async () => {
    const user = await insertUser(pool());
    const jobId = await runningJob(user);
    // Reached inside the batch's transaction, after its last statement: here the job's row is locked by it.
    const closing: Promise<string>[] = [];
    const watched = new BatchCommitter({
      pool: pool(),
      onCommit: (_, moment) => {
        if (moment === "before-commit")
          closing.push(bench.steps.finish({ importId: jobId, attempt: 1 }, { outcome: "cancelled" }));
      },
    });
    await watched.commit(batch(user, jobId, plays(10)), new CatalogueResolver(pool()));
    expect(await closing[0]).to.equal("cancelled");
    const job = await pool().query<{ read: number }>(
      "select (totals->'counts'->>'read')::int as read from import_jobs where id = $1",
      [jobId],
    );
    expect(job.rows[0]).to.deep.equal({ read: 10 });
    expect(await commit(batch(user, jobId, plays(10), 1))).to.deep.equal({
      outcome: "stopped",
      why: "closed",
    });
  });
});
