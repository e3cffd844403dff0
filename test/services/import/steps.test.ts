import { expect } from "chai";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { insertUser } from "../../support/users.js";
import { rejection } from "../../support/rejection.js";
import { zip } from "../../support/zip.js";
import { ImportError } from "../../../services/import/verdicts.js";
import { JobClosedError } from "../../../services/import/jobs.js";
import { heapMegabytes } from "../../support/memory.js";
import { untilBlocked } from "../../support/locks.js";
import { countsOfJob, createBench, digestOf, json, play, plays, podcast } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("the steps of an import", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;

  it("writes every play of a loose file once, batch by batch, and says so", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(
      user,
      json([...plays(250), play(3), podcast(900), { ...play(901), ts: "no time" }]),
    );

    expect(await bench.run(id)).to.equal("completed_with_errors");

    expect(await countsOfJob(pool(), id)).to.deep.equal({
      status: "completed_with_errors",
      read: 253,
      inserted: 250,
      duplicate: 1,
      skipped: 1,
      rejected: 1,
    });
    expect((await digestOf(pool(), user)).rows).to.equal(250);
    const batches = await pool().query(
      "select batch_no, read from import_batches where job_id = $1 order by 1",
      [id],
    );
    expect(batches.rows).to.deep.equal([
      { batch_no: 0, read: 100 },
      { batch_no: 1, read: 100 },
      { batch_no: 2, read: 53 },
    ]);
  });

  it("adds nothing when the same file comes again as another job", async () => {
    const user = await insertUser(pool());
    const upload = json([...plays(120), play(5)]);
    await bench.run(await bench.job(user, upload));
    const before = await digestOf(pool(), user);

    const again = await bench.job(user, upload);
    expect(await bench.run(again)).to.equal("completed");

    expect(await countsOfJob(pool(), again)).to.include({ read: 121, inserted: 0, duplicate: 121 });
    const reasons = await pool().query(
      "select totals->'reasons'->'duplicate' as d from import_jobs where id = $1",
      [again],
    );
    expect(reasons.rows[0]).to.deep.equal({ d: { already_there: 121 } });
    expect(await digestOf(pool(), user)).to.deep.equal(before);
  });

  it("gives the same rows and counts however the records are spread over files", async () => {
    const records = [...plays(90), ...plays(30, 10)];
    const whole = await insertUser(pool());
    const split = await insertUser(pool());
    const one = await bench.job(whole, json(records));
    const many = await bench.job(
      split,
      zip([
        { name: "c.json", data: json(records.slice(70)) },
        { name: "a/b.json", data: json(records.slice(0, 35)) },
        { name: "x.json", data: json(records.slice(35, 70)) },
        { name: "ReadMe.txt", data: "nothing to import" },
      ]),
    );

    await bench.run(one);
    await bench.run(many);

    expect(await digestOf(pool(), split)).to.deep.equal(await digestOf(pool(), whole));
    const totals = async (id: string) =>
      (await pool().query<{ totals: object }>("select totals from import_jobs where id = $1", [id])).rows[0]!
        .totals;
    expect(await totals(many)).to.deep.equal(await totals(one));
    const parts = await pool().query(
      "select name, format, status, error_code from import_parts where job_id = $1 and status <> 'done'",
      [many],
    );
    expect(parts.rows).to.deep.equal([
      { name: "ReadMe.txt", format: null, status: "skipped", error_code: "unrecognised_format" },
    ]);
  });

  it("counts the whole rows of a file that was cut short and names the cut", async () => {
    const user = await insertUser(pool());
    const whole = json(plays(150));
    const id = await bench.job(user, whole.subarray(0, whole.length - 40));

    expect(await bench.run(id)).to.equal("completed_with_errors");

    expect(await countsOfJob(pool(), id)).to.include({ read: 149, inserted: 149 });
    const part = await pool().query("select status, error_code from import_parts where job_id = $1", [id]);
    expect(part.rows[0]).to.deep.equal({ status: "failed", error_code: "file_truncated" });
  });

  it("refuses an archive without a known file, every time it is asked", async () => {
    const user = await insertUser(pool());
    const upload = zip([{ name: "photos.txt", data: "none" }]);
    const id = await bench.job(user, upload);
    for (let i = 0; i < 2; i += 1) {
      const error = await rejection(bench.steps.prepare({ importId: id, attempt: 1 }, bench.context()));
      expect(error).to.be.instanceOf(ImportError).with.property("code", "no_known_files");
    }
    const parts = await pool().query("select name, status from import_parts where job_id = $1", [id]);
    expect(parts.rows).to.deep.equal([{ name: "photos.txt", status: "skipped" }]);
  });

  it("imports only the source that was asked for, and says what was left out", async () => {
    const user = await insertUser(pool());
    const account = [{ endTime: "2023-01-01 10:00", artistName: "A", trackName: "T", msPlayed: 60_000 }];
    const upload = zip([
      { name: "extended.json", data: json(plays(3)) },
      { name: "account.json", data: json(account) },
    ]);
    const id = await bench.job(user, upload, { source: "spotify-account" });

    expect(await bench.run(id)).to.equal("completed");

    const parts = await pool().query(
      "select name, status, read from import_parts where job_id = $1 order by part_no",
      [id],
    );
    expect(parts.rows).to.deep.equal([
      { name: "extended.json", status: "skipped", read: 0 },
      { name: "account.json", status: "done", read: 1 },
    ]);
  });

  it("counts every batch once when a part is imported three times at once", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json([...plays(730), ...plays(60, 100)]));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    await Promise.all([0, 1, 2].map(() => bench.steps.importPart(ref, 0, bench.context())));
    expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
    expect(await countsOfJob(pool(), id)).to.include({ read: 790, inserted: 730, duplicate: 60 });
  });

  it("prepares an upload once when it is prepared three times at once", async () => {
    const user = await insertUser(pool());
    const files = [1, 2, 3].map((n) => ({ name: `${n}.json`, data: json(plays(2, n * 10)) }));
    const id = await bench.job(user, zip(files));
    const ref = { importId: id, attempt: 1 };
    const prepared = await Promise.all([0, 1, 2].map(() => bench.steps.prepare(ref, bench.context())));
    for (const each of prepared)
      expect(each).to.deep.equal({ partsTotal: 3, partsOpen: 3, provider: "spotify" });
    expect(await bench.steps.openParts(ref, -1, 10)).to.deep.equal([0, 1, 2]);
    expect(await bench.steps.openParts(ref, 0, 1)).to.deep.equal([1]);
  });

  it("stops at a batch border when asked, and goes on from there with the same result", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(950)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const stop = new AbortController();
    const stopping = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: (batch, moment) => {
        if (batch.batchNo === 2 && moment === "after-commit") stop.abort(new Error("asked to stop"));
      },
    });
    const error = await rejection(stopping.steps.importPart(ref, 0, stopping.context(stop.signal)));
    await stopping.close();
    expect(error).to.have.property("message", "asked to stop");
    const { read } = await countsOfJob(pool(), id);
    expect(read % 100).to.equal(0);
    expect(read).to.be.within(300, 900);

    await bench.steps.importPart(ref, 0, bench.context());
    expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
    expect(await countsOfJob(pool(), id)).to.include({ read: 950, inserted: 950 });
  });

  it("settles a part that no attempt could finish, and keeps what is in", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(20)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const failed = await bench.steps.failPart(ref, 0, { code: "resource_limit", message: "too much" });
    expect(failed).to.deep.equal({ status: "failed", read: 0, inserted: 0 });
    expect(await bench.steps.openParts(ref, -1, 10)).to.deep.equal([]);
    expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed_with_errors");
  });

  it("leaves a part settled when a run that was taken for dead comes back to it", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(20)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const other = await pool().connect();
    try {
      await other.query("begin");
      await other.query("select from import_jobs where id = $1 for update", [id]);
      const late = bench.steps
        .importPart(ref, 0, bench.context(AbortSignal.abort(new Error("taken for dead"))))
        .catch((error: unknown) => error);
      await untilBlocked(pool());
      await other.query("update import_parts set status = 'done' where job_id = $1", [id]);
      await other.query("commit");
      expect(await late).to.deep.equal({ status: "done", read: 0, inserted: 0 });
    } finally {
      other.release();
    }
    const code = { code: "resource_limit", message: "no attempt ended in time" };
    expect(await bench.steps.failPart(ref, 0, code)).to.include({ status: "done" });
    expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
  });

  it("holds no skipped record longer than it takes to judge it, however large", async () => {
    const user = await insertUser(pool());
    const records = Array.from({ length: 1000 }, (_, n) => ({ ...podcast(n), more: "x".repeat(40_000) }));
    const id = await bench.job(user, json(records), { batchRows: 1000 });
    records.length = 0;
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const before = heapMegabytes();
    let during: number | undefined;
    const watching = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: () => (during ??= heapMegabytes()),
    });
    await watching.steps.importPart(ref, 0, watching.context());
    await watching.close();
    expect(during! - before).to.be.below(20);
    expect(await countsOfJob(pool(), id)).to.include({ read: 1000, skipped: 1000 });
  });

  it("never calls an import complete whose counts do not add up", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(20)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    await bench.steps.importPart(ref, 0, bench.context());
    await pool().query("update import_parts set read = read + 1, inserted = inserted + 1 where job_id = $1", [
      id,
    ]);
    expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("failed");
    const job = await pool().query("select error_code from import_jobs where id = $1", [id]);
    expect(job.rows[0]).to.deep.equal({ error_code: "ledger_mismatch" });
  });

  it("is not continued by other parsers than those that began it", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(20)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    await pool().query("update import_jobs set parser_version = parser_version + 1 where id = $1", [id]);
    const error = await rejection(bench.steps.importPart(ref, 0, bench.context()));
    expect(error).to.be.instanceOf(ImportError).with.property("code", "parser_changed");
  });

  it("does not mix two uploads: a stored file that has changed under a running import is refused", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(150)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    await bench.steps.importPart(ref, 0, bench.context());
    const other = await bench.job(user, json(plays(155)));
    await pool().query(
      `update import_jobs set blob_key = (select blob_key from import_jobs where id = $2) where id = $1`,
      [id, other],
    );
    await pool().query("update import_parts set status = 'running' where job_id = $1", [id]);
    const error = await rejection(bench.steps.importPart(ref, 0, bench.context()));
    expect(error).to.be.instanceOf(ImportError).with.property("code", "storage_lost");
  });

  it("does nothing for a run that is not the job's any more", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(5)));
    const stale = { importId: id, attempt: 7 };
    expect(await rejection(bench.steps.prepare(stale, bench.context()))).to.be.instanceOf(JobClosedError);
    await bench.run(id);
    const ref = { importId: id, attempt: 1 };
    expect(await rejection(bench.steps.importPart(ref, 0, bench.context()))).to.be.instanceOf(JobClosedError);
    expect(await bench.steps.finish(ref, { outcome: "cancelled" })).to.equal("completed");
  });

  it("says that an account is gone, and that a stored upload is", async () => {
    const user = await insertUser(pool());
    const lost = await bench.job(user, json(plays(5)));
    await pool().query("update import_jobs set blob_key = repeat('0', 32) where id = $1", [lost]);
    const storage = await rejection(bench.steps.prepare({ importId: lost, attempt: 1 }, bench.context()));
    expect(storage).to.be.instanceOf(ImportError).with.property("code", "storage_lost");

    const gone = await bench.job(user, json(plays(5)));
    await pool().query("delete from users where id = $1", [user]);
    const owner = await rejection(bench.steps.prepare({ importId: gone, attempt: 1 }, bench.context()));
    expect(owner).to.be.instanceOf(ImportError).with.property("code", "owner_gone");
  });
});
