import { expect } from "chai";
import type pg from "pg";
import { ledgerRows } from "../../../services/import/ledger.js";
import { FIND_KNOWN } from "../../../services/import/writing/dryPlays.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { createBench, json, play, plays, podcast } from "./importing.js";
import type { ImportBench } from "./importing.js";

/** Repeats inside a batch, across batches and across parts; skipped, rejected and out of range ones; known and deleted plays. */
const UPLOAD = zip([
  {
    name: "a.json",
    data: json([
      ...plays(180),
      play(3),
      play(3),
      podcast(1),
      { ...play(4), ts: "?" },
      ...plays(40, 60),
      play(900),
    ]),
  },
  {
    name: "b.json",
    data: json([...plays(150, 100), play(2), play(2), { ...play(5), incognito_mode: true }]),
  },
]);
const OPTIONS = { from: "2020-01-01T00:30:00Z", until: null, includeIncognito: false };

/** Tables that a dry run may write to. */
const ITS_OWN = ["import_jobs", "import_parts", "import_batches", "import_rows", "import_dry_keys"];

interface Fates {
  readonly status: string;
  readonly totals: unknown;
  readonly rows: readonly string[];
  readonly verdicts: readonly unknown[];
}

async function fatesOf(pool: pg.Pool, id: string): Promise<Fates> {
  const rows: string[] = [];
  for await (const row of ledgerRows(pool, { id }, {}, null)) {
    const { part, position, verdict, reason, message, excerpt } = row;
    rows.push([part, position, verdict, reason, message, excerpt].join("|"));
  }
  const job = await pool.query<{ status: string; totals: unknown }>(
    "select status, totals from import_jobs where id = $1",
    [id],
  );
  const batches = await pool.query(
    `select part_no, batch_no, first_position, read, inserted, duplicate, skipped, rejected, reasons, claimed_positions,
            claimed_reasons, skipped_positions, skipped_reasons
       from import_batches where job_id = $1 order by part_no, batch_no`,
    [id],
  );
  return { ...job.rows[0]!, rows, verdicts: batches.rows };
}

/** Rows and a digest of every table that is no business of a dry run. */
async function restOfTheDatabase(pool: pg.Pool): Promise<Record<string, unknown>> {
  const tables = await pool.query<{ name: string }>(
    "select tablename as name from pg_tables where schemaname = 'public' and tablename <> all($1)",
    [ITS_OWN],
  );
  const digests: Record<string, unknown> = {};
  for (const { name } of tables.rows) {
    const found = await pool.query<{ n: number; digest: string }>(
      `select count(*)::bigint as n, md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as digest from ${name} t`,
    );
    digests[name] = found.rows[0];
  }
  return digests;
}

describe("a dry run", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  beforeEach(async () => {
    user = await insertUser(pool());
    await bench.run(await bench.job(user, json([...plays(20, 90), play(500), play(501), play(900)])));
    // Its owner has deleted one play of the upload, and has kept another that was deleted and brought again.
    await pool().query(
      `insert into deleted_plays (user_id, source_key, source, loose_key, start_earliest, start_latest)
       select user_id, source_key, source, 'k', start_earliest, start_latest from (
         select *, row_number() over (order by played_at) as n from listening_history where user_id = $1
       ) h where n in (5, 6)`,
      [user],
    );
    await pool().query(
      `delete from listening_history where user_id = $1 and source_key in (
         select source_key from deleted_plays where user_id = $1 order by source_key limit 1)`,
      [user],
    );
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const dryJob = () =>
    bench.job(user, UPLOAD, { filename: "export.zip", batchRows: 50, dryRun: true, options: OPTIONS });
  const realJob = () => bench.job(user, UPLOAD, { filename: "export.zip", batchRows: 50, options: OPTIONS });

  it("gives every record the verdict, and the import the counts, of the real import that follows", async () => {
    const dry = await dryJob();
    await bench.run(dry);
    const real = await realJob();
    await bench.run(real);

    const foretold = await fatesOf(pool(), dry);
    expect(foretold).to.deep.equal(await fatesOf(pool(), real));
    expect(foretold.status).to.equal("completed_with_errors");
    const { reasons } = foretold.totals as { reasons: Record<string, Record<string, number>> };
    expect(reasons["duplicate"]).to.have.all.keys("same_row", "already_there", "deleted_by_user");
    expect(reasons["skipped"]).to.have.all.keys("podcast", "incognito", "out_of_range");
  });

  it("writes nothing but its own account of itself", async () => {
    const before = await restOfTheDatabase(pool());
    expect(Object.keys(before)).to.include.members(["listening_history", "artists", "tracks", "users"]);
    await bench.run(await dryJob());
    expect(await restOfTheDatabase(pool())).to.deep.equal(before);
  });

  it("shows which play a known record repeats, but claims none", async () => {
    const dry = await dryJob();
    await bench.run(dry);
    const shown = new Set<number>();
    for await (const row of ledgerRows(pool(), { id: dry }, { reason: "already_there" }, null))
      shown.add(row.listenId!);
    const known = await pool().query<{ id: number }>(
      "select id from listening_history where user_id = $1 and id = any($2)",
      [user, [...shown]],
    );
    expect(known.rows).to.have.length(shown.size);
    expect(shown.size).to.be.above(10);
    const claims = await pool().query(
      "select 1 from import_batches where job_id = $1 and (claimed_from is not null or claimed_to is not null)",
      [dry],
    );
    expect(claims.rowCount).to.equal(0);
  });

  it("comes to the same end when it is stopped half way and run again, two parts at once", async () => {
    const calm = await dryJob();
    await bench.run(calm);

    const broken = await dryJob();
    const ref = { importId: broken, attempt: 1 };
    const failing = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: ({ batchNo }, moment) => {
        if (batchNo === 2 && moment === "before-commit") throw new Error("the lights went out");
      },
    });
    await failing.steps.prepare(ref, failing.context());
    for (const partNo of [0, 1]) {
      const error = await rejection(failing.steps.importPart(ref, partNo, failing.context()));
      expect(error).to.have.property("message", "the lights went out");
    }
    await failing.close();
    await Promise.all([0, 1].map((partNo) => bench.steps.importPart(ref, partNo, bench.context())));
    await bench.steps.finish(ref, { outcome: "completed" });

    // Which of two equal records in two files comes first is a matter of luck, how many there are is not.
    const [one, two] = [await fatesOf(pool(), calm), await fatesOf(pool(), broken)];
    expect(two.status).to.equal(one.status);
    expect(two.totals).to.deep.equal(one.totals);
    expect(two.rows).to.have.length(one.rows.length);
  });

  it("knows each play once when two parts with the same records are read at once", async () => {
    const records = json(plays(400));
    const id = await bench.job(
      user,
      zip([
        { name: "a.json", data: records },
        { name: "b.json", data: json([...plays(400)].reverse()) },
      ]),
      { filename: "twice.zip", batchRows: 100, dryRun: true },
    );
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    await Promise.all([0, 1].map((partNo) => bench.steps.importPart(ref, partNo, bench.context())));
    await bench.steps.finish(ref, { outcome: "completed" });
    const { totals } = await fatesOf(pool(), id);
    // Twenty are known, one of them as a deleted play.
    expect(totals).to.deep.include({
      counts: { read: 800, inserted: 380, duplicate: 420, skipped: 0, rejected: 0, linked: 0 },
    });
    const keys = await pool().query("select count(*)::int as n from import_dry_keys where job_id = $1", [id]);
    expect(keys.rows).to.deep.equal([{ n: 380 }]);
  });

  it("probes the unique index of the history row by row, also for a user whom no statistics know", async function () {
    this.timeout(60_000);
    await pool().query(
      `insert into listening_history (user_id, track_id, artist_id, played_at, start_earliest, start_latest, precision,
         source, counted, source_key)
       select $1, t.id, t.artist_id, at, at, at, 'second', 'manual', true, int4send(n) || substr(sha256(int4send(n)), 1, 12)
         from (select id, artist_id from tracks limit 1) t, generate_series(1, 50000) n,
              lateral (select timestamptz '2001-01-01' + n * interval '1 minute' as at) x`,
      [user],
    );
    await pool().query("analyze listening_history");
    const keys = await pool().query<{ keys: string }>(
      "select array_agg(source_key)::text as keys from (select source_key from listening_history where user_id = $1 limit 10000) h",
      [user],
    );
    for (const who of [user, await insertUser(pool())]) {
      const values = [who, keys.rows[0]!.keys];
      const plan = await pool().query<{ "QUERY PLAN": string }>(`explain ${FIND_KNOWN}`, values);
      const text = plan.rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(text).to.match(/Nested Loop/);
      expect(text).to.match(/using plays_once on [^\n]*\n +Index Cond: .*user_id = .*source_key = /);
      expect(text).not.to.match(/Hash|Merge Join/);
    }
  });
});
