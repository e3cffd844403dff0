import { expect } from "chai";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import type { ImportObserver } from "../../../services/import/observer.js";
import type { ImportLimits } from "../../../services/import/stepContext.js";
import { ImportError } from "../../../services/import/verdicts.js";
import { createDatabase } from "../../../db/knex.js";
import { createTestDatabase, databaseSettings } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { heapMegabytes } from "../../support/memory.js";
import { rejection } from "../../support/rejection.js";
import { startTcpProxy } from "../../support/tcpProxy.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { countsOfJob, createBench, digestOf, json, LIMITS, play, plays, podcast } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("importing a part", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let user: string;
  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
  });
  beforeEach(async () => {
    user = await insertUser(pool());
  });
  after(async () => {
    await bench.close();
    await db.drop();
  });

  const pool = () => db.database.pool;
  const set = (id: string, change: string) =>
    pool().query(`update import_jobs set ${change} where id = $1`, [id]);

  /** Another worker on the same uploads. */
  async function withBench<T>(
    over: Parameters<typeof createBench>[1],
    work: (other: ImportBench) => Promise<T>,
  ): Promise<T> {
    const other = await createBench(pool(), { ...over, blobs: bench.blobs });
    try {
      return await work(other);
    } finally {
      await other.close();
    }
  }
  const limits = (over: Partial<ImportLimits>): { limits: ImportLimits } => ({
    limits: { ...LIMITS, ...over },
  });

  async function prepared(upload: Buffer, options: Parameters<ImportBench["job"]>[2] = {}) {
    const id = await bench.job(user, upload, options);
    const ref = { importId: id, attempt: 1 };
    await bench.steps.prepare(ref, bench.context());
    return ref;
  }
  const partOf = async (id: string, partNo = 0) =>
    (
      await pool().query<{
        status: string;
        error_code: string | null;
        error_message: string | null;
        read: number;
        lost_attempts: number;
      }>(
        "select status, error_code, error_message, read, lost_attempts from import_parts where job_id = $1 and part_no = $2",
        [id, partNo],
      )
    ).rows[0]!;
  async function whileNoPartBegins(work: () => Promise<unknown>): Promise<void> {
    await pool().query(`
      create function not_now() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
      create trigger not_now before update on import_parts for each row execute function not_now()`);
    try {
      await work();
    } finally {
      await pool().query("drop function not_now cascade");
    }
  }
  const sizesOf = async (id: string, partNo = 0) =>
    (
      await pool().query<{ read: number }>(
        "select read from import_batches where job_id = $1 and part_no = $2 order by batch_no",
        [id, partNo],
      )
    ).rows.map((row) => row.read);

  describe("of an import that is paused", () => {
    it("stops at the next batch border, and goes on from there with the same rows", async () => {
      const calm = await insertUser(pool());
      await bench.run(await bench.job(calm, json(plays(950))));
      const ref = await prepared(json(plays(950)));
      const asked: Promise<unknown>[] = [];
      const paused = await withBench(
        {
          onCommit: ({ batchNo }, moment) => {
            if (batchNo === 2 && moment === "before-commit")
              asked.push(set(ref.importId, "status = 'paused'"));
          },
        },
        (other) => other.steps.importPart(ref, 0, other.context()),
      );
      await Promise.all(asked);
      // Whole batches: the one that was being written, and those that came before the pause reached the row.
      expect(paused.status).to.equal("paused");
      expect(paused.read % 100).to.equal(0);
      expect(paused.read).to.be.within(300, 900);
      expect(await partOf(ref.importId)).to.include({ status: "queued", read: paused.read });

      expect(await bench.steps.importPart(ref, 0, bench.context())).to.deep.equal(paused);
      await set(ref.importId, "status = 'running'");
      expect(await bench.steps.importPart(ref, 0, bench.context())).to.include({ status: "done", read: 950 });
      expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
      expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), calm));
    });
    it("is done when it was at its end", async () => {
      const ref = await prepared(json(plays(100)));
      const asking: Promise<unknown>[] = [];
      const outcome = await withBench(
        {
          onCommit: (_, moment) => {
            if (moment === "before-commit") asking.push(set(ref.importId, "status = 'paused'"));
          },
        },
        (other) => other.steps.importPart(ref, 0, other.context()),
      );
      await Promise.all(asking);
      expect(outcome).to.deep.equal({ status: "done", read: 100, inserted: 100 });
      expect(await partOf(ref.importId)).to.include({ status: "done" });
    });
  });

  describe("with options", () => {
    it("skips plays that start before the range, or at its end or later", async () => {
      const id = await bench.job(
        user,
        json([...plays(10), podcast(20), { ...play(30), incognito_mode: true }]),
        {
          // The n-th play starts 200 s before 00:00 + n * 300 s.
          options: { from: "2020-01-01T00:11:40Z", until: "2020-01-01T00:31:40+00:00" },
        },
      );
      expect(await bench.run(id)).to.equal("completed");
      const { rows } = await pool().query(
        `select min(played_at) as first, max(played_at) as last, count(*)::int as n
           from listening_history where user_id = $1`,
        [user],
      );
      expect(rows[0]).to.deep.equal({
        first: new Date("2020-01-01T00:11:40Z"),
        last: new Date("2020-01-01T00:26:40Z"),
        n: 4,
      });
      const reasons = await pool().query(
        "select totals->'reasons'->'skipped' as skipped from import_jobs where id = $1",
        [id],
      );
      expect(reasons.rows[0]).to.deep.equal({ skipped: { out_of_range: 6, podcast: 1, incognito: 1 } });
    });

    it("imports plays in a private session when asked to", async () => {
      const id = await bench.job(user, json([play(1), { ...play(2), incognito_mode: true }]), {
        options: { includeIncognito: true },
      });
      expect(await bench.run(id)).to.equal("completed");
      expect(await countsOfJob(pool(), id)).to.include({ inserted: 2, skipped: 0 });
    });
  });

  describe("with long texts", () => {
    const wide = (n: number) =>
      play(n, {
        title: `${n} ${"t".repeat(900)}`,
        artist: `${n} ${"a".repeat(900)}`,
        album: `${n} ${"b".repeat(900)}`,
        uri: "",
      });

    it("ends its batches early, and brings the same rows", async () => {
      const upload = json([
        ...plays(80),
        ...Array.from({ length: 40 }, (_, n) => wide(n)),
        ...plays(80, 100),
      ]);
      const calm = await insertUser(pool());
      await bench.run(await bench.job(calm, upload, { batchRows: 1000 }));

      const id = await bench.job(user, upload, { batchRows: 100 });
      await withBench(limits({ batchChars: 26_900 }), async (other) => {
        expect(await other.run(id)).to.equal("completed");
      });
      const sizes = await sizesOf(id);
      expect(sizes.slice(0, 4)).to.deep.equal([90, 10, 10, 10]);
      expect(sizes.reduce((a, b) => a + b)).to.equal(200);
      expect(await digestOf(pool(), user)).to.deep.equal(await digestOf(pool(), calm));
    });

    it("keeps the borders of its batches when the setting is changed between two attempts", async () => {
      const ref = await prepared(json(Array.from({ length: 60 }, (_, n) => wide(n))));
      await withBench(
        {
          ...limits({ batchChars: 27_000 }),
          onCommit: ({ batchNo }, moment) => {
            if (batchNo === 2 && moment === "before-commit") throw new Error("the lights went out");
          },
        },
        (other) => rejection(other.steps.importPart(ref, 0, other.context())),
      );
      expect(await sizesOf(ref.importId)).to.deep.equal([10, 10]);
      await withBench(limits({ batchChars: 60_000 }), (other) =>
        other.steps.importPart(ref, 0, other.context()),
      );
      expect(await sizesOf(ref.importId)).to.deep.equal([10, 10, 23, 17]);
      expect(await countsOfJob(pool(), ref.importId)).to.include({ read: 60, inserted: 60 });
    });

    it("never counts a record twice when two attempts with other settings run at once", async () => {
      const ref = await prepared(json(Array.from({ length: 120 }, (_, n) => wide(n))));
      const attempts = await Promise.allSettled(
        [27_000, 40_000].map((batchChars) =>
          withBench(limits({ batchChars }), (other) => other.steps.importPart(ref, 0, other.context())),
        ),
      );
      const failed = attempts.filter((each) => each.status === "rejected");
      expect(failed.map((each) => (each.reason as Error).name)).to.deep.equal(
        failed.map(() => "BordersMovedError"),
      );
      await bench.steps.importPart(ref, 0, bench.context());
      expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
      expect(await countsOfJob(pool(), ref.importId)).to.include({ read: 120, inserted: 120 });
    });
  });

  describe("with many broken records", () => {
    it("gives the file up once more of the import are rejected than allowed, and keeps what is in", async () => {
      const bad = Array.from({ length: 30 }, (_, n) => ({ ...play(n), ts: "?" }));
      const upload = zip([
        { name: "a.json", data: json([...plays(95), ...bad, ...plays(500, 1000)]) },
        { name: "b.json", data: json(plays(50)) },
      ]);
      const id = await bench.job(user, upload, { filename: "export.zip" });
      await withBench(limits({ maxRejected: 29 }), async (other) => {
        expect(await other.run(id)).to.equal("completed_with_errors");
      });
      const part = await partOf(id);
      expect(part).to.include({ status: "failed", error_code: "resource_limit" });
      expect(part.error_message).to.match(/^More than 29 records/);
      expect(part.read).to.be.within(200, 300);
      expect(part.read % 100).to.equal(0);
      expect(await partOf(id, 1)).to.include({ status: "failed", error_code: "resource_limit", read: 0 });
    });

    it("ends quickly and with little memory on a file that is next to nothing but separators", async function () {
      this.timeout(60_000);
      const upload = Buffer.concat([
        Buffer.from("["),
        Buffer.from(JSON.stringify(play(1))),
        Buffer.alloc(100 * 1024 ** 2, ","),
      ]);
      const id = await bench.job(user, upload, { batchRows: 10_000 });
      const before = heapMegabytes();
      await withBench(limits({ maxRejected: 25_000 }), async (other) => {
        expect(await other.run(id)).to.equal("completed_with_errors");
      });
      expect(heapMegabytes() - before).to.be.below(60);
      const { rejected, inserted } = await countsOfJob(pool(), id);
      expect(inserted).to.equal(1);
      expect(rejected).to.be.within(25_000, 50_000);
      const rows = await pool().query("select count(*)::int as n from import_rows where job_id = $1", [id]);
      expect(rows.rows).to.deep.equal([{ n: rejected }]);
    });
  });

  describe("over which workers vanish", () => {
    /** As a worker leaves it that was killed while it read the part. */
    const vanish = (id: string, partNo = 0) =>
      pool().query("update import_parts set status = 'running' where job_id = $1 and part_no = $2", [
        id,
        partNo,
      ]);
    /** An attempt that fails before its first commit, in a process that cannot be told from one that is gone. */
    const dieEarly = async (ref: { importId: string; attempt: number }) => {
      const death = new Error("killed");
      const onCommit = (): never => {
        throw death;
      };
      await withBench({ onCommit }, async (other) => {
        expect(await rejection(other.steps.importPart(ref, 0, other.context()))).to.equal(death);
      });
      await vanish(ref.importId);
    };

    it("is given up after so many in a row", async () => {
      const ref = await prepared(json(plays(250)));
      for (const lost of [0, 1, 2]) {
        await dieEarly(ref);
        expect((await partOf(ref.importId)).lost_attempts).to.equal(lost);
      }
      const outcome = await bench.steps.importPart(ref, 0, bench.context());
      expect(outcome).to.deep.equal({ status: "failed", read: 0, inserted: 0 });
      const part = await partOf(ref.importId);
      expect(part).to.include({ status: "failed", error_code: "resource_limit", lost_attempts: 3 });
      expect(part.error_message).to.match(/ended 3 times in a row/);
    });

    it("is not given up while it makes progress", async () => {
      const ref = await prepared(json(plays(650)));
      for (let batch = 0; batch < 6; batch += 1) {
        await withBench(
          {
            onCommit: ({ batchNo }, moment) => {
              if (batchNo === batch + 1 || (batchNo === batch && moment === "after-commit"))
                throw new Error("killed");
            },
          },
          (other) => rejection(other.steps.importPart(ref, 0, other.context())),
        );
        await vanish(ref.importId);
        expect((await partOf(ref.importId)).lost_attempts).to.equal(0);
      }
      expect(await bench.steps.importPart(ref, 0, bench.context())).to.include({ status: "done", read: 650 });
    });

    it("is no worse for attempts that ended in order, also when the database could not be told so", async () => {
      const ref = await prepared(json(plays(250)));
      const proxy = await startTcpProxy(db.url);
      const away = createDatabase(databaseSettings(proxy.through(db.url)), {
        applicationName: "playlog-away",
      });
      let gone = Promise.resolve();
      const onCommit = (): void => {
        gone = proxy.refuse();
      };
      try {
        await withBench({ pool: away.pool, onCommit }, async (other) => {
          for (let tries = 0; tries < 4; tries += 1) {
            await rejection(other.steps.importPart(ref, 0, other.context()));
            await gone;
            expect(await partOf(ref.importId)).to.include({ status: "running", lost_attempts: 0, read: 0 });
            await proxy.accept();
            await whileNoPartBegins(() => rejection(other.steps.importPart(ref, 0, other.context())));
          }
        });
      } finally {
        await away.close();
        await proxy.close();
      }
    });

    it("is no worse for an attempt that was only taken for dead, as long as that goes on", async () => {
      const ref = await prepared(json(plays(950)));
      const other: Promise<unknown>[] = [];
      // Each batch of the first attempt sees two more attempts begin, as when no heartbeat arrives.
      await withBench(
        {
          onCommit: (_, moment) => {
            if (moment === "after-commit" && other.length < 8)
              other.push(bench.steps.importPart(ref, 0, bench.context()));
          },
        },
        async (slow) => {
          expect(await slow.steps.importPart(ref, 0, slow.context())).to.include({ status: "done" });
        },
      );
      for (const outcome of await Promise.all(other))
        expect(outcome).to.include({ status: "done", read: 950 });
      expect(await countsOfJob(pool(), ref.importId)).to.include({ read: 950, inserted: 950 });
    });

    it("is read with no other suspect beside it before it is given up", async () => {
      const records = Array.from({ length: 3 }, (_, n) => ({
        name: `${n}.json`,
        data: json(plays(200, n * 200)),
      }));
      const ref = await prepared(zip(records), { filename: "export.zip" });
      await pool().query("update import_parts set lost_attempts = 2 where job_id = $1", [ref.importId]);
      let [inside, most] = [0, 0];
      const seen = new Set<number>();
      await withBench(
        {
          onCommit: ({ partNo, batchNo }, moment) => {
            if (batchNo === 0 && moment === "before-commit") {
              seen.add(partNo);
              inside += 1;
            }
            most = Math.max(most, inside);
            if (batchNo === 1 && moment === "after-commit") inside -= 1;
          },
        },
        async (other) => {
          const outcomes = await Promise.all(
            [0, 1, 2].map((partNo) => other.steps.importPart(ref, partNo, other.context())),
          );
          expect(outcomes.map((outcome) => outcome.status)).to.deep.equal(["done", "done", "done"]);
        },
      );
      expect([most, seen.size]).to.deep.equal([1, 3]);
      expect((await partOf(ref.importId, 1)).lost_attempts).to.equal(0);
    });
  });

  it("tells its observer what was committed, lost and settled", async () => {
    const events: unknown[] = [];
    const observer: ImportObserver = {
      ...NO_OBSERVER,
      batchCommitted: ({ seconds, ...event }) => {
        expect(seconds).to.be.within(0, 60);
        events.push({ batch: event });
      },
      partSettled: (event) => events.push({ settled: event }),
      attemptLost: (event) => events.push({ lost: event }),
    };
    const ref = await prepared(json([...plays(3), play(1), podcast(9), { ...play(4), ts: "?" }]));
    await pool().query("update import_parts set status = 'running' where job_id = $1", [ref.importId]);
    await withBench({ observer }, (other) => other.steps.importPart(ref, 0, other.context()));
    expect(events).to.deep.equal([
      { lost: { format: "spotify-extended" } },
      {
        batch: {
          format: "spotify-extended",
          dryRun: false,
          counts: { read: 6, inserted: 3, duplicate: 1, skipped: 1, rejected: 1 },
          reasons: { duplicate: { same_row: 1 }, skipped: { podcast: 1 }, rejected: { bad_time: 1 } },
        },
      },
      { settled: { format: "spotify-extended", status: "done", code: null } },
    ]);
  });

  it("refuses a stored upload that ends before the batches that are in", async () => {
    const ref = await prepared(json(plays(150)));
    await bench.steps.importPart(ref, 0, bench.context());
    const other = await bench.job(user, json(plays(100)));
    await pool().query(
      `update import_jobs j set (blob_key, size_bytes, sha256) = (o.blob_key, o.size_bytes, o.sha256)
         from import_jobs o where j.id = $1 and o.id = $2`,
      [ref.importId, other],
    );
    await pool().query(
      `update import_parts set status = 'running', bytes_total = (select size_bytes from import_jobs where id = $1)
        where job_id = $1`,
      [ref.importId],
    );
    const error = await rejection(bench.steps.importPart(ref, 0, bench.context()));
    expect(error).to.be.instanceOf(ImportError).with.property("code", "storage_lost");
  });
});
