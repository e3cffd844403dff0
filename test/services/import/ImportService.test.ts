import { randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import { Readable } from "node:stream";
import { expect } from "chai";
import type pg from "pg";
import type { ImportService } from "../../../services/import/ImportService.js";
import type { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import { ConflictError, NotFoundError, UnauthorizedError, ValidationError } from "../../../utils/errors.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { untilBlocked } from "../../support/locks.js";
import { freePort } from "../../support/processes.js";
import { rejection } from "../../support/rejection.js";
import { testStack } from "../../support/stack.js";
import { insertUser } from "../../support/users.js";
import { zip } from "../../support/zip.js";
import { createBench, json, play, plays, podcast, queueAt, serviceOf } from "./importing.js";
import type { ImportBench } from "./importing.js";

describe("the import service", () => {
  let db: TestDatabase;
  let bench: ImportBench;
  let queue: TemporalImportQueue;
  let service: ImportService;

  const serviceWith = (using: TemporalImportQueue): ImportService =>
    serviceOf(db.database.pool, bench.blobs, using);

  before(async () => {
    db = await createTestDatabase();
    bench = await createBench(db.database.pool);
    queue = queueAt(testStack().temporalAddress);
    service = serviceWith(queue);
  });
  after(async () => {
    await queue.close();
    await bench.close();
    await db.drop();
  });

  const pool = (): pg.Pool => db.database.pool;
  const accept = async (
    userId: string,
    upload: Buffer,
    { source = null as string | null, filename = "upload.json", via = service } = {},
  ) => {
    const blob = await bench.blobs.put(Readable.from([upload]), { maxBytes: 1024 ** 3 });
    return via.accept({
      userId,
      kind: "file",
      filename,
      blob,
      dryRun: false,
      options: { source, from: null, until: null, includeIncognito: false },
    });
  };

  describe("accepting an upload", () => {
    it("makes a queued job, tells the queue, and shows all there is to know", async () => {
      const user = await insertUser(pool());
      const upload = json(plays(3));
      const { job, created } = await accept(user, upload, { source: "spotify" });
      expect(created).to.equal(true);
      const { id, createdAt, sha256, ...rest } = job;
      expect(rest).to.deep.equal({
        kind: "file",
        status: "queued",
        source: "spotify",
        sources: [],
        filename: "upload.json",
        sizeBytes: upload.length,
        dryRun: false,
        options: { source: "spotify", from: null, until: null, includeIncognito: false },
        counts: { read: 0, inserted: 0, duplicate: 0, skipped: 0, rejected: 0, linked: 0 },
        skipped: {},
        rejected: {},
        duplicate: {},
        progress: { percent: 0, bytesRead: 0, bytesTotal: 0, partsDone: 0, partsTotal: 0 },
        parts: [],
        waiting: null,
        error: null,
        workflowId: `import-${id}-1`,
        version: 1,
        startedAt: null,
        finishedAt: null,
      });
      expect(sha256).to.match(/^[0-9a-f]{64}$/);
      expect(createdAt).to.be.instanceOf(Date);
      expect(await queue.inspect({ kind: "import", importId: id, attempt: 1 })).to.equal("open");
    });

    it("answers five equal uploads at once with one job and keeps one file", async () => {
      const user = await insertUser(pool());
      const upload = json(plays(4, 7000));
      const before = (await readdir(bench.spoolDir)).length;
      const answers = await Promise.all(Array.from({ length: 5 }, () => accept(user, upload)));
      expect(new Set(answers.map(({ job }) => job.id)).size).to.equal(1);
      expect(answers.filter(({ created }) => created)).to.have.length(1);
      expect((await readdir(bench.spoolDir)).length - before).to.equal(1);
    });

    it("takes the same file again with other options, by another user, or once the first is closed", async () => {
      const [user, other] = [await insertUser(pool()), await insertUser(pool())];
      const upload = json(plays(4, 8000));
      const first = await accept(user, upload);
      expect((await accept(user, upload, { source: "spotify" })).created).to.equal(true);
      expect((await accept(other, upload)).created).to.equal(true);
      expect((await accept(user, upload)).job.id).to.equal(first.job.id);
      await bench.run(first.job.id);
      const again = await accept(user, upload);
      expect(again.created).to.equal(true);
      expect(await bench.run(again.job.id)).to.equal("completed");
    });

    it("takes an upload while the queue is away, within 3 s", async () => {
      const away = queueAt(`127.0.0.1:${await freePort()}`);
      try {
        const user = await insertUser(pool());
        const startedAt = Date.now();
        const { job } = await accept(user, json(plays(2)), { via: serviceWith(away) });
        expect(Date.now() - startedAt).to.be.below(3000);
        expect(job.status).to.equal("queued");
        const row = await pool().query(
          "select next_start_at > now() as later from import_jobs where id = $1",
          [job.id],
        );
        expect(row.rows[0]).to.deep.equal({ later: true });
      } finally {
        await away.close();
      }
    });
  });

  it("says that an account is gone when it is erased while an upload is accepted or retried", async () => {
    await pool().query(`
      create function erase_owner() returns trigger language plpgsql as
        $$ begin delete from users where id = new.user_id; return null; end $$;
      create trigger erase_on_insert after insert on import_jobs for each row
        when (new.filename = 'erased.json') execute function erase_owner();
      create trigger erase_on_retry after update on import_jobs for each row
        when (new.filename = 'retried.json' and new.attempt = 2) execute function erase_owner()`);
    const accepted = accept(await insertUser(pool()), json(plays(2, 50)), { filename: "erased.json" });
    expect(await rejection(accepted)).to.be.instanceOf(UnauthorizedError);

    const user = await insertUser(pool());
    const { job } = await accept(user, json(plays(2, 50)), { filename: "retried.json" });
    await service.cancel(user, job.id);
    expect(await rejection(service.retry(user, job.id))).to.be.instanceOf(NotFoundError);
  });

  describe("looking at imports", () => {
    it("shows a stranger nothing, as if it did not exist", async () => {
      const { job } = await accept(await insertUser(pool()), json(plays(2, 100)));
      const stranger = await insertUser(pool());
      const missing = await rejection(service.find(stranger, randomUUID()));
      const calls: (() => Promise<unknown>)[] = [
        () => service.find(stranger, job.id),
        () => service.rows(stranger, job.id, { limit: 10 }),
        () => service.allRows(stranger, job.id, {}),
        () => service.cancel(stranger, job.id),
        () => service.retry(stranger, job.id),
      ];
      for (const call of calls) {
        const error = await rejection(call());
        expect(error).to.be.instanceOf(NotFoundError);
        expect((error as Error).message).to.equal((missing as Error).message);
      }
    });

    it("lists them newest first, page by page, each once", async () => {
      const user = await insertUser(pool());
      const ids: string[] = [];
      for (let n = 0; n < 5; n += 1) ids.push((await accept(user, json(plays(1, 200 + n)))).job.id);
      // Rows made in one instant must not confuse a page.
      await pool().query(
        "update import_jobs set created_at = '2026-01-01 00:00:00.123456Z' where id = any($1)",
        [ids.slice(0, 3)],
      );
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const page = await service.list(user, { limit: 2, cursor });
        expect(page.data.length).to.be.within(1, 2);
        seen.push(...page.data.map((job) => job.id));
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      expect([...seen].sort()).to.deep.equal([...ids].sort());
      expect(seen.slice(0, 2)).to.deep.equal([ids[4], ids[3]]);
      expect(await rejection(service.list(user, { limit: 2, cursor: "x" }))).to.be.instanceOf(
        ValidationError,
      );
    });

    it("never shows a reason without its count, also while a batch is being committed", async () => {
      const user = await insertUser(pool());
      const { job } = await accept(user, json([podcast(1), podcast(2)]));
      await bench.steps.prepare({ importId: job.id, attempt: 1 }, bench.context());
      const batch = await pool().connect();
      try {
        await batch.query("begin");
        await batch.query("lock table import_batches in access exclusive mode");
        const looking = service.find(user, job.id);
        await untilBlocked(pool()); // the counts of the parts are read, the reasons not yet
        await batch.query(
          `insert into import_batches (job_id, part_no, batch_no, read, inserted, duplicate, skipped, rejected, reasons,
             claimed_ids, claimed_positions, claimed_reasons, skipped_positions, skipped_reasons, first_position)
           values ($1, 0, 0, 2, 0, 0, 2, 0, '{"skipped": {"podcast": 2}}', '{}', '{}', '{}', '{0,1}', '{1,1}', 0)`,
          [job.id],
        );
        await batch.query("update import_parts set read = 2, skipped = 2 where job_id = $1", [job.id]);
        await batch.query("commit");
        const seen = await looking;
        const listed = Object.values(seen.skipped).reduce((sum, count) => sum + count, 0);
        expect(listed).to.equal(seen.counts.skipped);
      } finally {
        batch.release();
      }
      expect(await service.find(user, job.id)).to.deep.include({ skipped: { podcast: 2 } });
    });

    it("grows the version with every change and counts while it runs", async () => {
      const user = await insertUser(pool());
      const { job } = await accept(user, json(plays(250, 300)));
      const versions = [job.version];
      const look = async () => {
        const now = await service.find(user, job.id);
        versions.push(now.version);
        return now;
      };
      const ref = { importId: job.id, attempt: 1 };
      await bench.steps.prepare(ref, bench.context());
      const prepared = await look();
      expect(prepared).to.deep.include({ status: "running", sources: ["spotify-extended"] });
      expect(prepared.parts[0]).to.deep.include({ format: "spotify-extended", status: "queued" });
      await bench.steps.importPart(ref, 0, bench.context());
      const imported = await look();
      expect(imported.counts).to.include({ read: 250, inserted: 250 });
      expect(imported.progress).to.include({ percent: 99, partsDone: 1, partsTotal: 1 });
      await bench.steps.finish(ref, { outcome: "completed" });
      const closed = await look();
      expect(closed.status).to.equal("completed");
      expect(closed.progress.percent).to.equal(100);
      expect([...versions].sort((a, b) => a - b)).to.deep.equal(versions);
      expect(new Set(versions).size).to.equal(versions.length);
    });
  });

  describe("the ledger", () => {
    let user: string;
    let id: string;
    before(async () => {
      user = await insertUser(pool());
      const one = [...plays(150), podcast(1), play(3), { ...play(4), ts: "never" }, play(5)];
      const two = [play(0), podcast(2), { ...play(6), ms_played: "many" }];
      const upload = zip([
        { name: "one.json", data: json(one) },
        { name: "two.json", data: json(two) },
      ]);
      id = (await accept(user, upload, { filename: "export.zip" })).job.id;
      await bench.run(id);
    });

    const brief = (rows: readonly { part: string; position: number; verdict: string; reason: string }[]) =>
      rows.map((row) => `${row.part} ${row.position} ${row.verdict} ${row.reason}`);

    const all = [
      "one.json 150 skipped podcast",
      "one.json 151 duplicate same_row",
      "one.json 152 rejected bad_time",
      "one.json 153 duplicate same_row",
      "two.json 0 duplicate same_row",
      "two.json 1 skipped podcast",
      "two.json 2 rejected bad_number",
    ];

    it("lists every row that became no play of its own, in order of file and position", async () => {
      const page = await service.rows(user, id, { limit: 100 });
      expect(brief(page.data)).to.deep.equal(all);
      expect(page.nextCursor).to.equal(null);
    });

    it("gives the same rows in pages of any size", async () => {
      for (const limit of [1, 2, 3, 7]) {
        const rows: string[] = [];
        let cursor: string | undefined;
        do {
          const page = await service.rows(user, id, { limit, cursor });
          rows.push(...brief(page.data));
          cursor = page.nextCursor ?? undefined;
        } while (cursor !== undefined);
        expect(rows).to.deep.equal(all);
      }
    });

    it("filters by verdict and by reason", async () => {
      const rows = async (filter: object) =>
        brief((await service.rows(user, id, { limit: 100, ...filter })).data);
      expect(await rows({ verdict: "skipped" })).to.deep.equal(all.filter((row) => row.includes("skipped")));
      expect(await rows({ reason: "same_row" })).to.deep.equal(all.filter((row) => row.includes("same_row")));
      expect(await rows({ verdict: "rejected", reason: "bad_time" })).to.deep.equal([
        "one.json 152 rejected bad_time",
      ]);
      expect(await rows({ verdict: "skipped", reason: "bad_time" })).to.deep.equal([]);
    });

    it("says what a duplicate repeats, and shows the record of what was refused", async () => {
      const { data } = await service.rows(user, id, { limit: 100 });
      const [skipped, duplicate, rejected] = data;
      expect(skipped).to.include({ message: "A podcast episode", listenId: null });
      const original = await pool().query<{ id: number }>(
        "select id from listening_history where user_id = $1 order by played_at offset 3 limit 1",
        [user],
      );
      expect(duplicate).to.include({ excerpt: null, listenId: original.rows[0]!.id });
      expect(duplicate?.message).to.equal("The same row again in this upload");
      expect(rejected?.excerpt).to.include('"ts":"never"');
    });

    it("streams all of it for an export", async () => {
      const rows = [];
      for await (const row of await service.allRows(user, id, {})) rows.push(row);
      expect(brief(rows)).to.deep.equal(all);
      expect(rows[0]).to.have.all.keys(
        "part",
        "position",
        "verdict",
        "reason",
        "message",
        "excerpt",
        "listenId",
      );
    });

    it("refuses the cursor of another import", async () => {
      const { nextCursor } = await service.rows(user, id, { limit: 1 });
      const other = (await accept(user, json(plays(2, 900)))).job.id;
      const error = await rejection(service.rows(user, other, { limit: 1, cursor: nextCursor ?? "" }));
      expect(error).to.be.instanceOf(ValidationError);
    });
  });

  describe("cancel and retry", () => {
    it("cancels a job that has not begun on the spot; its run then finds nothing to do", async () => {
      const user = await insertUser(pool());
      const { job } = await accept(user, json(plays(5)));
      const first = await service.cancel(user, job.id);
      expect(first.changed).to.equal(true);
      expect(first.job).to.include({ status: "cancelled" });
      expect(first.job.finishedAt).to.be.instanceOf(Date);
      expect((await service.cancel(user, job.id)).changed).to.equal(false);
      const error = await rejection(bench.steps.prepare({ importId: job.id, attempt: 1 }, bench.context()));
      expect(error).to.have.property("name", "JobClosedError");
    });

    it("stops a running job at its next batch, keeps what is in, and retries the rest under the next attempt", async () => {
      const user = await insertUser(pool());
      const { job } = await accept(user, json(plays(450)));
      const ref = { importId: job.id, attempt: 1 };
      await bench.steps.prepare(ref, bench.context());
      let asked: Promise<unknown> | undefined;
      const stopping = await createBench(pool(), {
        blobs: bench.blobs,
        onCommit: (batch, moment) => {
          if (batch.batchNo === 1 && moment === "after-commit") asked ??= service.cancel(user, job.id);
        },
      });
      const part = await stopping.steps.importPart(ref, 0, bench.context());
      await asked;
      await stopping.close();
      expect(part.status).to.equal("stopped");
      expect(part.read).to.be.within(200, 400);
      expect((await service.find(user, job.id)).status).to.equal("cancelling");
      expect(await bench.steps.finish(ref, { outcome: "cancelled" })).to.equal("cancelled");

      const cancelled = await service.find(user, job.id);
      expect(cancelled.counts.read).to.equal(part.read);
      const retried = await service.retry(user, job.id);
      expect(retried.changed).to.equal(true);
      expect(retried.job).to.include({ status: "queued", workflowId: `import-${job.id}-2` });
      expect((await service.retry(user, job.id)).changed).to.equal(false);
      expect(await bench.run(job.id, 2)).to.equal("completed");
      expect((await service.find(user, job.id)).counts).to.include({ read: 450, inserted: 450 });
      expect(await rejection(service.retry(user, job.id)))
        .to.be.instanceOf(ConflictError)
        .with.property("code", "wrong_state");
      expect(await rejection(service.cancel(user, job.id)))
        .to.be.instanceOf(ConflictError)
        .with.property("code", "wrong_state");
    });

    it("retries a damaged file without counting a row twice", async () => {
      const user = await insertUser(pool());
      const whole = json(plays(130));
      const { job } = await accept(user, whole.subarray(0, whole.length - 20));
      expect(await bench.run(job.id)).to.equal("completed_with_errors");
      const first = await service.find(user, job.id);
      await service.retry(user, job.id);
      expect(await bench.run(job.id, 2)).to.equal("completed_with_errors");
      const second = await service.find(user, job.id);
      expect(second.counts).to.deep.equal(first.counts);
      expect(second.parts).to.deep.equal(first.parts);
    });

    it("says that an upload is gone, or open elsewhere, when asked to retry it", async () => {
      const user = await insertUser(pool());
      const upload = json(plays(5, 60));
      const { job } = await accept(user, upload);
      await service.cancel(user, job.id);
      const again = await accept(user, upload);
      expect(again.created).to.equal(true);
      expect(await rejection(service.retry(user, job.id))).to.have.property("code", "wrong_state");
      await bench.run(again.job.id);
      await pool().query("update import_jobs set blob_delete_after = now() where id = $1", [job.id]);
      expect(await rejection(service.retry(user, job.id))).to.have.property("code", "upload_gone");
    });
  });
});
