import { Readable } from "node:stream";
import { expect } from "chai";
import type pg from "pg";
import type { ImportService } from "../../../services/import/ImportService.js";
import type { Changed } from "../../../services/import/ImportService.js";
import { JobClosedError } from "../../../services/import/jobs.js";
import { NO_OBSERVER } from "../../../services/import/observer.js";
import type { TemporalImportQueue } from "../../../services/import/queues/TemporalImportQueue.js";
import type { StepsDependencies } from "../../../services/import/stepContext.js";
import { ConflictError, NotFoundError } from "../../../utils/errors.js";
import { createTestDatabase } from "../../support/database.js";
import type { TestDatabase } from "../../support/database.js";
import { freePort } from "../../support/processes.js";
import { rejection } from "../../support/rejection.js";
import { testStack } from "../../support/stack.js";
import { insertUser } from "../../support/users.js";
import { countsOfJob, createBench, digestOf, json, plays, queueAt, serviceOf } from "./importing.js";
import type { ImportBench } from "./importing.js";

const ACTIONS = ["pause", "resume", "cancel", "retry", "undo"] as const;
type Action = (typeof ACTIONS)[number];

describe("controlling an import", () => {
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

  async function accepted(count = 450, via = service) {
    const user = await insertUser(pool());
    const blob = await bench.blobs.put(Readable.from([json(plays(count))]), { maxBytes: 1024 ** 2 });
    const { job } = await via.accept({
      userId: user,
      kind: "file",
      filename: "upload.json",
      blob,
      options: { source: null, from: null, until: null, includeIncognito: false },
      dryRun: false,
    });
    return { user, id: job.id, ref: { importId: job.id, attempt: 1 } };
  }
  async function begun(count = 450) {
    const job = await accepted(count);
    await bench.steps.prepare(job.ref, bench.context());
    return job;
  }
  /** A job in this status, with nothing left over from the way there. */
  async function jobThatIs(status: string) {
    const job = await begun(5);
    await pool().query(
      `update import_jobs set status = $2, blob_delete_after = now() + interval '1 day' where id = $1`,
      [job.id, status],
    );
    return job;
  }
  const row = async (id: string) =>
    (
      await pool().query<{
        status: string;
        waiting_reason: string | null;
        parked: boolean;
        starts: boolean;
        version: number;
      }>(
        `select status, waiting_reason, parked_at is not null as parked, next_start_at is not null as starts, version
           from import_jobs where id = $1`,
        [id],
      )
    ).rows[0]!;
  const stateOf = (id: string) => queue.inspect({ kind: "import", importId: id, attempt: 1 });
  const undoStateOf = (id: string) => queue.inspect({ kind: "undo", importId: id });
  const withSteps = async <T>(over: Partial<StepsDependencies>, work: (other: ImportBench) => Promise<T>) => {
    const other = await createBench(pool(), { blobs: bench.blobs, ...over });
    try {
      return await work(other);
    } finally {
      await other.close();
    }
  };

  it("answers every action in every status as the contract says", async () => {
    const changes: Record<Action, readonly string[]> = {
      pause: ["queued", "running"],
      resume: ["paused"],
      cancel: ["queued", "running", "paused"],
      retry: ["failed", "cancelled", "completed_with_errors"],
      undo: ["completed", "completed_with_errors", "failed", "cancelled"],
    };
    const already: Record<Action, readonly string[]> = {
      pause: ["paused"],
      resume: ["queued", "running"],
      cancel: ["cancelling", "cancelled"],
      retry: ["queued", "running"],
      undo: ["undoing", "undone"],
    };
    const statuses = [...new Set([...Object.values(changes), ...Object.values(already)].flat())];
    expect(statuses).to.have.length(10);
    for (const action of ACTIONS) {
      for (const status of statuses) {
        const { user, id } = await jobThatIs(status);
        const before = (await row(id)).version;
        const result: unknown = await service[action](user, id).catch((error: unknown) => error);
        const label = `${action} when ${status}`;
        if (changes[action].includes(status)) {
          expect(result, label).to.have.property("changed", true);
          expect((await row(id)).version, label).to.be.above(before);
        } else if (already[action].includes(status)) {
          expect(result, label).to.have.property("changed", false);
          expect(await row(id), label).to.include({ status, version: before });
        } else {
          expect(result, label).to.be.instanceOf(ConflictError).with.property("code", "wrong_state");
          expect(await row(id), label).to.include({ status, version: before });
        }
      }
    }
  });

  it("shows a stranger nothing, as if it did not exist", async () => {
    const { id } = await accepted(2);
    const stranger = await insertUser(pool());
    for (const action of ACTIONS)
      expect(await rejection(service[action](stranger, id)), action).to.be.instanceOf(NotFoundError);
    expect(await row(id)).to.include({ status: "queued", version: 1 });
  });

  describe("pausing", () => {
    it("stops at the next batch border, says why it waits, and goes on to the same rows", async () => {
      const { user, id, ref } = await begun();
      let asked: Promise<Changed> | undefined;
      const part = await withSteps(
        {
          onCommit: (batch, moment) => {
            if (batch.batchNo === 1 && moment === "after-commit") asked ??= service.pause(user, id);
          },
        },
        (pausing) => pausing.steps.importPart(ref, 0, bench.context()),
      );
      const paused = (await asked)!;
      expect(paused).to.include({ changed: true });
      expect(paused.job).to.deep.include({
        status: "paused",
        waiting: { reason: "paused_by_user", until: null },
      });
      expect(part.status).to.equal("paused");
      expect(part.read % 100).to.equal(0);
      expect(part.read).to.be.within(200, 400);
      expect(await bench.steps.importPart(ref, 0, bench.context())).to.deep.equal(part);

      const resumed = await service.resume(user, id);
      expect(resumed.changed).to.equal(true);
      expect(resumed.job).to.deep.include({ status: "running", waiting: null });
      expect(await bench.run(id)).to.equal("completed");
      expect(await countsOfJob(pool(), id)).to.include({ read: 450, inserted: 450 });
      expect((await digestOf(pool(), user)).rows).to.equal(450);
    });

    it("does not undo the batch that is being written when it is asked for", async () => {
      const { user, id, ref } = await begun();
      await withSteps(
        {
          onCommit: (batch, moment) => {
            // Its transaction has done all it does but commit; the pause waits for it.
            if (batch.batchNo === 0 && moment === "before-commit") void service.pause(user, id);
          },
        },
        (pausing) => pausing.steps.importPart(ref, 0, bench.context()),
      );
      expect((await countsOfJob(pool(), id)).read).to.be.at.least(100);
      expect(await row(id)).to.include({ status: "paused" });
    });

    it("settles a part whose last batch was in when it was asked for", async () => {
      const { user, id, ref } = await begun(50);
      let asked: Promise<unknown> | undefined;
      const part = await withSteps(
        {
          onCommit: (_batch, moment) => {
            if (moment === "after-commit") asked ??= service.pause(user, id);
          },
        },
        (pausing) => pausing.steps.importPart(ref, 0, bench.context()),
      );
      await asked;
      expect(part).to.deep.equal({ status: "done", read: 50, inserted: 50 });
      // Complete, but paused: it stays so until somebody resumes it.
      expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("paused");
      await service.resume(user, id);
      expect(await bench.steps.openParts(ref, -1, 10)).to.deep.equal([]);
      expect(await bench.steps.finish(ref, { outcome: "completed" })).to.equal("completed");
    });

    it("ends all the same when it cannot go on, or is cancelled in the queue itself", async () => {
      const failed = await begun(5);
      await service.pause(failed.user, failed.id);
      await bench.steps.park(failed.ref);
      const ending = { outcome: "failed", code: "storage_lost", message: "gone" } as const;
      expect(await bench.steps.finish(failed.ref, ending)).to.equal("failed");
      expect(await row(failed.id)).to.include({ status: "failed", parked: false, waiting_reason: null });
      const cancelled = await begun(5);
      await service.pause(cancelled.user, cancelled.id);
      expect(await bench.steps.finish(cancelled.ref, { outcome: "cancelled" })).to.equal("cancelled");
    });

    it("begins nothing when it is asked for before the work has begun", async () => {
      const { user, id, ref } = await accepted(5);
      expect((await service.pause(user, id)).job).to.include({ status: "paused", startedAt: null });
      expect(await bench.steps.prepare(ref, bench.context())).to.include({ paused: true });
      expect((await service.find(user, id)).parts).to.deep.equal([]);
      expect((await service.resume(user, id)).job).to.include({ status: "queued" });
      expect(await row(id)).to.include({ starts: true });
      expect(await bench.run(id)).to.equal("completed");
    });

    it("is begun by a run that could not take it and, a moment later, finds it queued again", async () => {
      const { user, id, ref } = await accepted(5);
      await service.pause(user, id);
      let resumed: Promise<unknown> | undefined;
      // After the first statement of the step, which is the one that takes the job.
      const hooked = Object.assign(Object.create(pool()) as pg.Pool, {
        query: async (text: string, values: unknown[]) => {
          const result = await pool().query(text, values);
          await (resumed ??= service.resume(user, id));
          return result;
        },
      });
      const other = await createBench(hooked, { blobs: bench.blobs });
      expect(await other.steps.prepare(ref, bench.context())).to.include({ partsTotal: 1 });
      await other.close();
      expect(await row(id)).to.include({ status: "running" });
    });

    it("starts what was paused before it could be started", async () => {
      const away = queueAt(`127.0.0.1:${await freePort()}`);
      try {
        const { user, id } = await accepted(5, serviceWith(away));
        await serviceWith(away).pause(user, id);
        expect(await stateOf(id)).to.equal("missing");
        expect((await service.resume(user, id)).job).to.include({ status: "queued" });
        expect(await stateOf(id)).to.equal("open");
      } finally {
        await away.close();
      }
    });

    it("starts what the queue has lost meanwhile", async () => {
      const { user, id, ref } = await begun(5);
      await service.pause(user, id);
      await bench.steps.park(ref);
      // As if the queue's own database were new.
      await pool().query("update import_jobs set attempt = 2, workflow_id = $2 where id = $1", [
        id,
        `x-${id}`,
      ]);
      await service.resume(user, id);
      expect(await queue.inspect({ kind: "import", importId: id, attempt: 2 })).to.equal("open");
      await bench.steps.prepare({ importId: id, attempt: 2 }, bench.context());
      expect(await row(id)).to.include({ status: "running", parked: false });
    });

    it("needs no queue to be there", async () => {
      const away = queueAt(`127.0.0.1:${await freePort()}`);
      try {
        const { user, id, ref } = await begun(5);
        expect(await serviceWith(away).pause(user, id)).to.have.property("changed", true);
        expect(await bench.steps.park(ref)).to.deep.equal({ parked: true });
        expect(await serviceWith(away).resume(user, id)).to.have.property("changed", true);
        expect(await row(id)).to.include({ status: "running", parked: true }); // the reconciler will wake it
      } finally {
        await away.close();
      }
    });

    it("parks and unparks by what the row says at that moment", async () => {
      const { user, id, ref } = await begun(5);
      expect(await bench.steps.park(ref)).to.deep.equal({ parked: false });
      await service.pause(user, id);
      expect(await bench.steps.unpark(ref)).to.deep.equal({ resumed: false });
      expect(await bench.steps.park(ref)).to.deep.equal({ parked: true });
      expect(await row(id)).to.include({ parked: true });
      await service.resume(user, id);
      expect(await row(id)).to.include({ parked: true });
      expect(await bench.steps.unpark(ref)).to.deep.equal({ resumed: true });
      expect(await row(id)).to.include({ parked: false });
      await service.pause(user, id);
      await bench.steps.park(ref);
      await service.cancel(user, id);
      expect(await bench.steps.unpark(ref)).to.deep.equal({ resumed: true }); // to its end
      await bench.steps.finish(ref, { outcome: "cancelled" });
      expect(await rejection(bench.steps.park(ref))).to.be.instanceOf(JobClosedError);
      expect(await rejection(bench.steps.unpark({ ...ref, attempt: 2 }))).to.be.instanceOf(JobClosedError);
    });
  });

  describe("cancelling", () => {
    it("closes a job on the spot that was paused before it had begun", async () => {
      const { user, id, ref } = await accepted(5);
      await service.pause(user, id);
      await bench.steps.park(ref);
      const { job, changed } = await service.cancel(user, id);
      expect(changed).to.equal(true);
      expect(job).to.deep.include({ status: "cancelled", waiting: null });
      expect(await row(id)).to.include({ parked: false });
      expect(await rejection(bench.steps.prepare(ref, bench.context()))).to.be.instanceOf(JobClosedError);
    });

    it("stops a paused job as it does a running one, and a retry finishes it", async () => {
      const { user, id, ref } = await begun(250);
      await service.pause(user, id);
      expect((await service.cancel(user, id)).job).to.deep.include({ status: "cancelling", waiting: null });
      expect(await bench.steps.importPart(ref, 0, bench.context())).to.include({ status: "stopped" });
      expect(await bench.steps.finish(ref, { outcome: "cancelled" })).to.equal("cancelled");
      await service.retry(user, id);
      expect(await bench.run(id, 2)).to.equal("completed");
      expect((await digestOf(pool(), user)).rows).to.equal(250);
    });
  });

  describe("undoing", () => {
    it("says so at once, hands it to the queue, and never comes back from it", async () => {
      const { user, id, ref } = await accepted(120);
      await bench.run(id);
      const asked = await service.undo(user, id);
      expect(asked.changed).to.equal(true);
      expect(asked.job).to.include({ status: "undoing" });
      expect(await undoStateOf(id)).to.equal("open");
      expect((await service.undo(user, id)).changed).to.equal(false);
      expect(await rejection(bench.steps.prepare(ref, bench.context()))).to.be.instanceOf(JobClosedError);
      expect(await bench.steps.undo(id, bench.context())).to.deep.equal({ removed: 120, handedOver: 0 });
      const { job, changed } = await service.undo(user, id);
      expect(changed).to.equal(false);
      expect(job).to.include({ status: "undone" });
      expect(job.counts).to.include({ read: 120, inserted: 120 });
      expect(await rejection(service.retry(user, id))).to.have.property("code", "wrong_state");
    });

    it("lists duplicates of plays that are gone without naming a play", async () => {
      const { user, id } = await accepted(30);
      await bench.run(id);
      const again = await bench.job(user, json(plays(30)));
      await bench.run(again);
      for (const each of [again, id]) {
        await service.undo(user, each);
        await bench.steps.undo(each, bench.context());
      }
      const { data } = await service.rows(user, again, { limit: 100 });
      expect(data).to.have.length(30);
      expect(data.every((each) => each.listenId === null)).to.equal(true);
    });
  });

  describe("two who want different things at once", () => {
    /** Runs both at the same moment, many times; gives how each ended, and the row after it. */
    async function race(
      times: number,
      make: () => Promise<{ user: string; id: string }>,
      actions: readonly Action[],
    ): Promise<{ ends: string[]; status: string }[]> {
      const seen: { ends: string[]; status: string }[] = [];
      for (let n = 0; n < times; n += 1) {
        const { user, id } = await make();
        const order = n % 2 === 0 ? actions : [...actions].reverse();
        const results = await Promise.all(
          order.map((action) =>
            service[action](user, id).then(
              ({ changed }) => `${action} ${changed ? "did it" : "found it so"}`,
              (error: unknown) => `${action} ${error instanceof ConflictError ? error.code : String(error)}`,
            ),
          ),
        );
        seen.push({ ends: results.sort(), status: (await row(id)).status });
      }
      return seen;
    }

    it("pauses once, of many pauses", async () => {
      for (const { ends, status } of await race(3, () => begun(5), ["pause", "pause", "pause", "pause"])) {
        expect(ends.filter((end) => end === "pause did it")).to.have.length(1);
        expect(ends.filter((end) => end === "pause found it so")).to.have.length(3);
        expect(status).to.equal("paused");
      }
    });

    it("ends as cancelled, whether the pause or the cancel was first", async () => {
      for (const { ends, status } of await race(6, () => begun(5), ["pause", "cancel"])) {
        expect(ends[0]).to.equal("cancel did it");
        expect(ends[1]).to.be.oneOf(["pause did it", "pause wrong_state"]);
        expect(status).to.equal("cancelling");
      }
    });

    it("cancels what is resumed at the same moment", async () => {
      for (const { ends, status } of await race(6, () => jobThatIs("paused"), ["resume", "cancel"])) {
        expect(ends[0]).to.equal("cancel did it");
        expect(status).to.equal("cancelling");
      }
    });

    it("either undoes or retries, never both", async () => {
      for (const { ends, status } of await race(8, () => jobThatIs("failed"), ["undo", "retry"])) {
        const [retry, undo] = ends;
        expect([retry, undo, status]).to.be.deep.oneOf([
          ["retry did it", "undo wrong_state", "queued"],
          ["retry wrong_state", "undo did it", "undoing"],
        ]);
      }
    });

    it("closes a job that is paused while it finishes as the one or the other", async () => {
      for (let n = 0; n < 6; n += 1) {
        const { user, id, ref } = await begun(20);
        await bench.steps.importPart(ref, 0, bench.context());
        const [finished, paused] = await Promise.all([
          bench.steps.finish(ref, { outcome: "completed" }),
          service.pause(user, id).then(
            () => "paused",
            (error: unknown) => (error as ConflictError).code,
          ),
        ]);
        expect([finished, paused]).to.be.deep.oneOf([
          ["completed", "wrong_state"],
          ["paused", "paused"],
        ]);
        expect((await row(id)).status).to.equal(finished);
      }
    });

    it("never leaves a resumed job waiting, whether it is parked before or after", async () => {
      for (let n = 0; n < 8; n += 1) {
        const { user, id, ref } = await begun(5);
        await service.pause(user, id);
        const [{ parked }] = await Promise.all([bench.steps.park(ref), service.resume(user, id)]);
        // Parked: then the wake-up came after it, and is heard. Not parked: then there is nothing to hear.
        expect(await row(id)).to.include({ status: "running", parked });
      }
    });
  });

  it("tells whoever counts when a job leaves the queue and when it is closed, once each", async () => {
    const events: string[] = [];
    const waits: number[] = [];
    const observer: StepsDependencies["observer"] = {
      ...NO_OBSERVER,
      jobStarted: ({ kind, waitSeconds }) => {
        events.push(`started ${kind}`);
        waits.push(waitSeconds);
      },
      jobClosed: ({ status, code, seconds }) => events.push(`${status} ${code} ${seconds !== null}`),
    };
    await withSteps({ observer }, async (counting) => {
      const { user, id, ref } = await accepted(5);
      await pool().query("update import_jobs set created_at = now() - interval '90 seconds' where id = $1", [
        id,
      ]);
      await counting.steps.prepare(ref, bench.context());
      await counting.steps.prepare(ref, bench.context());
      const ending = { outcome: "failed", code: "storage_lost", message: "gone" } as const;
      await counting.steps.finish(ref, ending);
      await counting.steps.finish(ref, ending);
      await service.retry(user, id);
      expect(await counting.run(id, 2)).to.equal("completed");
    });
    expect(events).to.deep.equal([
      "started file",
      "failed storage_lost true",
      "started file",
      "completed null true",
    ]);
    expect(waits[0]).to.be.within(90, 120);
    expect(waits[1]).to.be.within(0, 30);
  });
});
