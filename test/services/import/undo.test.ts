import { expect } from "chai";
import type pg from "pg";
import { USER_PLAYS_LOCK } from "../../../db/advisoryLocks.js";
import { JobClosedError } from "../../../services/import/jobs.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import { ImportError } from "../../../services/import/verdicts.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { untilBlocked } from "../../support/locks.js";
import { rejection } from "../../support/rejection.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { createBench, digestOf, json, play, plays } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("undoing an import", () => {
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

  const pool = (): pg.Pool => db.database.pool;

  async function imported(user: string, upload: Buffer): Promise<string> {
    const id = await bench.job(user, upload);
    await bench.run(id);
    return id;
  }
  const asked = (id: string) =>
    pool().query("update import_jobs set status = 'undoing', version = version + 1 where id = $1", [id]);
  async function undo(id: string, by = bench) {
    await asked(id);
    return by.steps.undo(id, by.context());
  }
  /** How many plays of the user each import has; those that are nobody's under `null`. */
  async function owners(user: string): Promise<Record<string, number>> {
    const found = await pool().query<{ owner: string; plays: number }>(
      `select coalesce(import_job_id::text, 'null') as owner, count(*)::int as plays
         from listening_history where user_id = $1 group by 1`,
      [user],
    );
    return Object.fromEntries(found.rows.map(({ owner, plays }) => [owner, plays]));
  }
  const statusOf = async (id: string): Promise<string> =>
    (await pool().query<{ status: string }>("select status from import_jobs where id = $1", [id])).rows[0]!
      .status;

  it("takes away every play that only this import brought, and leaves its counts and ledger as a record", async () => {
    const user = await insertUser(pool());
    const kept = await imported(user, json(plays(50)));
    const before = await digestOf(pool(), user);
    const id = await imported(user, json([...plays(250, 1000), play(1000), { ...play(1), ts: "?" }]));
    const record = () =>
      pool().query(
        `select totals, error_code, (select json_agg(b order by part_no, batch_no) from import_batches b where job_id = j.id) as batches,
                (select count(*)::int from import_rows where job_id = j.id) as rows
           from import_jobs j where id = $1`,
        [id],
      );
    const recorded = (await record()).rows;

    expect(await undo(id)).to.deep.equal({ removed: 250, handedOver: 0 });

    expect(await digestOf(pool(), user)).to.deep.equal(before);
    expect(await owners(user)).to.deep.equal({ [kept]: 50 });
    expect((await record()).rows).to.deep.equal(recorded);
    const job = await pool().query(
      `select status, finished_at >= now() - interval '1 minute' as finished, blob_delete_after > now() as kept
         from import_jobs where id = $1`,
      [id],
    );
    expect(job.rows[0]).to.deep.equal({ status: "undone", finished: true, kept: true });
  });

  it("hands plays that other imports brought again to the oldest of these", async () => {
    const user = await insertUser(pool());
    const first = await imported(user, json(plays(300)));
    const second = await imported(user, json(plays(100, 100)));
    const third = await imported(user, json(plays(150, 150)));

    expect(await undo(first)).to.deep.equal({ removed: 100, handedOver: 200 });

    expect(await owners(user)).to.deep.equal({ [second]: 100, [third]: 100 });
    expect(await undo(second)).to.deep.equal({ removed: 50, handedOver: 50 });
    expect(await owners(user)).to.deep.equal({ [third]: 150 });
    expect(await undo(third)).to.deep.equal({ removed: 150, handedOver: 0 });
    expect(await owners(user)).to.deep.equal({});
  });

  it("leaves exactly what an import of the other files alone would have left, in whatever order they are undone", async () => {
    const uploads = [plays(220), [...plays(90, 40), ...plays(60, 400)], plays(130, 300)].map(json);
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ]) {
      const user = await insertUser(pool());
      const ids: string[] = [];
      for (const upload of uploads) ids.push(await imported(user, upload));
      for (const [step, index] of order.entries()) {
        await undo(ids[index]!);
        const left = order.slice(step + 1).sort();
        const fresh = await insertUser(pool());
        for (const other of left) await imported(fresh, uploads[other]!);
        expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), fresh));
      }
      expect(await owners(user)).to.deep.equal({});
    }
  });

  it("brings them back when the same upload is imported again", async () => {
    const user = await insertUser(pool());
    const upload = json(plays(120));
    const id = await imported(user, upload);
    const before = await digestOf(pool(), user);
    await undo(id);
    const again = await imported(user, upload);
    expect(await digestOf(pool(), user)).to.deep.equal(before);
    expect(await owners(user)).to.deep.equal({ [again]: 120 });
  });

  it("writes no tombstones and removes none", async () => {
    const user = await insertUser(pool());
    const id = await imported(user, json(plays(30)));
    const found = await pool().query<{ id: number }>(
      "select id from listening_history where user_id = $1 order by played_at limit 1",
      [user],
    );
    await pool().query(
      `with gone as (delete from listening_history where id = $1 returning *)
       insert into deleted_plays (user_id, source, source_key, loose_key, start_earliest, start_latest)
       select user_id, source, source_key, 'x', start_earliest, start_latest from gone`,
      [found.rows[0]!.id],
    );
    expect(await undo(id)).to.deep.equal({ removed: 29, handedOver: 0 });
    const tombstones = await pool().query("select 1 from deleted_plays where user_id = $1", [user]);
    expect(tombstones.rows).to.have.length(1);
  });

  it("takes no claim of a dry run, and takes nothing back for one", async () => {
    const user = await insertUser(pool());
    const upload = json(plays(40));
    const id = await imported(user, upload);
    const dry = await bench.job(user, upload);
    await pool().query("update import_jobs set dry_run = true where id = $1", [dry]);
    await bench.run(dry);

    expect(await undo(dry)).to.deep.equal({ removed: 0, handedOver: 0 });
    expect(await owners(user)).to.deep.equal({ [id]: 40 });
    expect(await undo(id)).to.deep.equal({ removed: 40, handedOver: 0 });
  });

  it("leaves plays alone that were in the history before, also those that belong to no import", async () => {
    const user = await insertUser(pool());
    const first = await imported(user, json(plays(20)));
    await pool().query("update listening_history set import_job_id = null where import_job_id = $1", [first]);
    const id = await imported(user, json(plays(30)));
    expect(await undo(id)).to.deep.equal({ removed: 10, handedOver: 0 });
    expect(await owners(user)).to.deep.equal({ null: 20 });
  });

  it("never touches another user's plays", async () => {
    const [user, other] = [await insertUser(pool()), await insertUser(pool())];
    const upload = json(plays(60));
    const theirs = await imported(other, upload);
    await undo(await imported(user, upload));
    expect(await owners(other)).to.deep.equal({ [theirs]: 60 });
  });

  it("undoes what failed or was cancelled half way, and leaves nothing of it", async () => {
    const user = await insertUser(pool());
    const id = await bench.job(user, json(plays(500)));
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    const stop = new AbortController();
    const stopping = await createBench(pool(), {
      blobs: bench.blobs,
      onCommit: (batch, moment) => {
        if (batch.batchNo === 1 && moment === "after-commit") stop.abort(new Error("enough"));
      },
    });
    await rejection(stopping.steps.importPart(ref, 0, stopping.context(stop.signal)));
    await stopping.close();
    await bench.steps.finish(ref, { outcome: "cancelled" });
    const { removed } = await undo(id);
    expect(removed).to.be.within(200, 400);
    expect(await owners(user)).to.deep.equal({});
  });

  it("gives the same end when it stops after any batch and is run again", async () => {
    const user = await insertUser(pool());
    const first = await imported(user, json(plays(400)));
    const second = await imported(user, json(plays(150, 50)));
    await asked(first);
    for (let batches = 0; batches < 3; batches += 1) {
      const stop = new AbortController();
      let beats = 0;
      const context = {
        ...bench.context(stop.signal),
        heartbeat: () => {
          if (beats === batches) stop.abort(new Error("killed"));
          beats += 1;
        },
      };
      const error = await rejection(bench.steps.undo(first, context));
      expect(error).to.have.property("message", "killed");
      expect(await statusOf(first)).to.equal("undoing");
    }
    await bench.steps.undo(first, bench.context());
    expect(await bench.steps.undo(first, bench.context())).to.deep.equal({ removed: 0, handedOver: 0 });
    expect(await owners(user)).to.deep.equal({ [second]: 150 });
  });

  it("gives the same end when two workers undo at once", async () => {
    const user = await insertUser(pool());
    const first = await imported(user, json(plays(600)));
    const second = await imported(user, json(plays(200, 100)));
    await asked(first);
    const runs = await Promise.all([0, 1, 2].map(() => bench.steps.undo(first, bench.context())));
    expect(runs.reduce((sum, run) => sum + run.removed, 0)).to.equal(400);
    expect(runs.reduce((sum, run) => sum + run.handedOver, 0)).to.equal(200);
    expect(await owners(user)).to.deep.equal({ [second]: 200 });
  });

  it("leaves nothing when all imports that brought the same plays are undone at once", async () => {
    const user = await insertUser(pool());
    const ids: string[] = [];
    for (let n = 0; n < 4; n += 1) ids.push(await imported(user, json(plays(500, n))));
    for (const id of ids) await asked(id);
    await Promise.all(ids.map((id) => bench.steps.undo(id, bench.context())));
    expect(await owners(user)).to.deep.equal({});
    for (const id of ids) expect(await statusOf(id)).to.equal("undone");
  });

  it("loses no play and leaves none behind while another import claims the same ones", async () => {
    const upload = json(plays(900));
    for (let round = 0; round < 4; round += 1) {
      const user = await insertUser(pool());
      const first = await imported(user, upload);
      const second = await bench.job(user, upload);
      let begun = (): void => {};
      const some = new Promise<void>((resolve) => (begun = resolve));
      const claiming = await createBench(pool(), {
        blobs: bench.blobs,
        onCommit: (batch, moment) => {
          if (batch.batchNo === round * 2 && moment === "before-commit") begun();
        },
      });
      const [, status] = await Promise.all([
        some.then(() => undo(first)),
        claiming.run(second).finally(begun),
      ]);
      await claiming.close();
      expect(status).to.equal("completed");
      expect(await owners(user)).to.deep.equal({ [second]: 900 });
      const counts = await pool().query(
        "select totals->'counts'->>'read' as read from import_jobs where id = $1",
        [second],
      );
      expect(counts.rows[0]).to.deep.equal({ read: "900" });
    }
  });

  it("waits for a batch that is being written, and counts its claims", async () => {
    const user = await insertUser(pool());
    const first = await imported(user, json(plays(80)));
    const second = await imported(user, json(plays(80)));
    const writing = await pool().connect();
    try {
      await writing.query("begin");
      await writing.query(`select pg_advisory_xact_lock_shared(${USER_PLAYS_LOCK})`, [user]);
      const undoing = undo(first);
      await untilBlocked(pool());
      expect(await owners(user)).to.deep.equal({ [first]: 80 });
      await writing.query("commit");
      expect(await undoing).to.deep.equal({ removed: 0, handedOver: 80 });
    } finally {
      writing.release();
    }
    expect(await owners(user)).to.deep.equal({ [second]: 80 });
  });

  it("undoes an archive of several files, and tells whoever counts that it is over", async () => {
    const user = await insertUser(pool());
    const closed: object[] = [];
    const counting = await createBench(pool(), {
      blobs: bench.blobs,
      observer: { ...NO_OBSERVER, jobClosed: (event) => closed.push(event) },
    });
    const files = [0, 1, 2].map((n) => ({ name: `${n}.json`, data: json(plays(120, n * 100)) }));
    const id = await imported(user, zip(files));
    expect(await undo(id, counting)).to.deep.equal({ removed: 320, handedOver: 0 });
    await counting.steps.undo(id, counting.context());
    await counting.close();
    expect(closed).to.deep.equal([{ kind: "file", status: "undone", code: null, seconds: null }]);
  });

  it("refuses an import that nobody asked to undo, and one whose owner is gone", async () => {
    const user = await insertUser(pool());
    const id = await imported(user, json(plays(5)));
    expect(await rejection(bench.steps.undo(id, bench.context()))).to.be.instanceOf(JobClosedError);
    await asked(id);
    await pool().query("delete from users where id = $1", [user]);
    expect(await rejection(bench.steps.undo(id, bench.context())))
      .to.be.instanceOf(ImportError)
      .with.property("code", "owner_gone");
  });
});
