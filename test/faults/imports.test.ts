/** What goes wrong with one import and must stay its own trouble: a stored file, a record, a parser, another import. */
import { once } from "node:events";
import { open, rm, stat } from "node:fs/promises";
import path from "node:path";
import { expect } from "chai";
import { createRealWorker } from "../activities/realWorker.js";
import type { RealWorker } from "../activities/realWorker.js";
import { countsOfJob, createBench, digestOf, json, play, plays } from "../services/import/importing.js";
import { spotifyExtended } from "../../services/import/formats/spotifyExtended.js";
import { createTestDatabase } from "../support/database.js";
import type { TestDatabase } from "../support/database.js";
import { insertUser } from "../support/users.js";
import { expectNothingLeft, outcomeOf, undisturbed } from "./outcome.js";
import type { Outcome } from "./outcome.js";

describe("an import that meets trouble of its own", function () {
  this.timeout(120_000);
  let db: TestDatabase;
  let real: RealWorker;
  let calm: Outcome;

  before(async () => {
    db = await createTestDatabase();
    // Before there is a worker, which would take care of the job.
    calm = await undisturbed(db.database.pool, json(plays(3000)), { filename: "upload.json" });
    real = await createRealWorker(db, { heartbeatTimeoutMs: 1000 });
  });
  after(async () => {
    await expectNothingLeft(db.database.pool, real.spoolDir);
    await real.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const fileOf = async (id: string): Promise<string> => {
    const { rows } = await pool().query<{ blob_key: string }>(
      "select blob_key from import_jobs where id = $1",
      [id],
    );
    return path.join(real.spoolDir, rows[0]!.blob_key);
  };

  it("loses only the records on which its format breaks down", async () => {
    const bench = await createBench(pool());
    const judge = spotifyExtended.judge.bind(spotifyExtended);
    try {
      spotifyExtended.judge = (record, context) => {
        if ((record as { ms_played: number }).ms_played === 666)
          throw new RangeError("a fault of the format");
        return judge(record, context);
      };
      const user = await insertUser(pool());
      const broken = [play(150, { ms: 666 }), play(151, { ms: 666 })];
      const id = await bench.job(user, json([...plays(150), ...broken, ...plays(150, 152)]));
      expect(await bench.run(id)).to.equal("completed_with_errors");
      expect(await countsOfJob(pool(), id)).to.include({ read: 302, inserted: 300, rejected: 2 });
      const { rows } = await pool().query<{ position: number; reason: string }>(
        "select position, reason from import_rows where job_id = $1 order by position",
        [id],
      );
      expect(rows).to.deep.equal([
        { position: 150, reason: "malformed" },
        { position: 151, reason: "malformed" },
      ]);
      await outcomeOf(pool(), id);
      await pool().query("delete from import_jobs where id = $1", [id]);
    } finally {
      spotifyExtended.judge = judge;
      await bench.close();
    }
  });

  it("fails and keeps what is in when its file is lost or damaged, or other parsers would go on with it", async () => {
    const upload = json(plays(3000));
    const troubles: Record<string, { code: string; trouble: (id: string) => Promise<unknown> }> = {
      "the file is gone": { code: "storage_lost", trouble: async (id) => rm(await fileOf(id)) },
      "a byte of the file is another": {
        code: "storage_lost",
        trouble: async (id) => flip(await fileOf(id)),
      },
      "playlog was replaced by another version": {
        code: "parser_changed",
        trouble: (id) => pool().query("update import_jobs set parser_version = 999 where id = $1", [id]),
      },
    };
    const doomed = await real.start({ PLAYLOG_KILL_AT: "0:3:after-commit" });
    const death = once(doomed.child, "exit");
    const jobs: { readonly name: string; readonly user: string; readonly id: string }[] = [];
    for (const name of Object.keys(troubles)) {
      const user = await insertUser(pool());
      jobs.push({ name, user, id: (await real.accept(user, upload)).id });
    }
    await death;
    for (const { name, id } of jobs) await troubles[name]!.trouble(id);
    await real.start();

    for (const { name, user, id } of jobs) {
      const job = await real.settled(user, id, undefined, 60_000);
      expect([job.status, job.error?.code], name).to.deep.equal(["failed", troubles[name]!.code]);
      const { counts, history } = await outcomeOf(pool(), id);
      expect(history, name).to.include({ rows: (counts as { inserted: number }).inserted });
    }
  });

  it("loses only the record that the database refuses, although it looked fine", async () => {
    const user = await insertUser(pool());
    const cursed = { ms: 199_999 };
    await pool().query(
      `alter table listening_history add constraint test_refuses check (ms_played <> ${cursed.ms})`,
    );
    try {
      const { id } = await real.accept(user, json([...plays(600), play(600, cursed), ...plays(400, 601)]));
      const job = await real.settled(user, id);
      expect(job.status).to.equal("completed_with_errors");
      expect(job.counts).to.include({ read: 1001, inserted: 1000, rejected: 1 });
      expect(job.rejected).to.deep.equal({ database: 1 });
      const { data } = await real.service.rows(user, id, { limit: 10 });
      expect(data).to.have.lengthOf(1);
      expect(data[0]).to.include({ position: 600, verdict: "rejected", reason: "database" });
      await outcomeOf(pool(), id);
    } finally {
      await pool().query("alter table listening_history drop constraint test_refuses");
    }
  });

  it("shares its rows with an import of the same records in opposite order at the same time", async () => {
    const user = await insertUser(pool());
    const records = plays(3000);
    const both = await Promise.all([
      real.accept(user, json(records)),
      real.accept(user, json([...records].reverse())),
    ]);
    const ended = await Promise.all(both.map(({ id }) => real.settled(user, id)));
    expect(ended.map((job) => job.status)).to.deep.equal(["completed", "completed"]);
    const [one, other] = ended.map((job) => job.counts);
    expect([one!.read, other!.read]).to.deep.equal([3000, 3000]);
    expect(one!.inserted + other!.inserted).to.equal(3000);
    expect(one!.duplicate + other!.duplicate).to.equal(3000);
    expect(await digestOf(pool(), user)).to.deep.equal(calm.history);
  });
});

/** Changes one byte inside a title, so that the file still reads as well as ever. */
async function flip(file: string): Promise<void> {
  const { size } = await stat(file);
  const handle = await open(file, "r+");
  try {
    const tail = Buffer.alloc(400);
    await handle.read(tail, 0, tail.length, size - tail.length);
    const at = tail.lastIndexOf("Track ");
    await handle.write(Buffer.from("X"), 0, 1, size - tail.length + at);
  } finally {
    await handle.close();
  }
}
