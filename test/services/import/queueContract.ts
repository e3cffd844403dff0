/** What every ImportQueue must do. A new adapter is tested by one call of `describeQueueContract`. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "chai";
import { QueueUnavailableError } from "../../../services/import/ImportQueue.js";
import type {
  ImportQueue,
  JobRef,
  QueuedErase,
  QueuedImport,
  QueuedUndo,
  QueueState,
  SyncSchedule,
  WorkRef,
} from "../../../services/import/ImportQueue.js";
import { rejection } from "../../support/rejection.js";

export interface QueueUnderTest {
  readonly queue: ImportQueue;
  /** A second client of the same queue, as another process would have. */
  readonly other: ImportQueue;
  /** A client of a queue whose server is not there. */
  readonly unreachable: ImportQueue;
  /** Lets the work behind enqueued jobs run until the returned function is called. Nothing runs before. */
  work(): Promise<() => Promise<void>>;
  /** Makes work end in this way as soon as it runs; otherwise an import runs until it is cancelled, an undo or an erase for ever. */
  willEnd(ref: WorkRef, how: "completed" | "failed"): void;
  /** What the job's row says: while it is paused, its work does nothing but wait to be woken. */
  setRow(ref: JobRef, row: "paused" | "running"): void;
  /** Stops work from outside, as an operator can. */
  terminate(ref: WorkRef): Promise<void>;
  /** How often this work was begun; work that finds its row paused has not begun. */
  runs(ref: WorkRef): number;
  /** How often a schedule's call for a sync of this connection was answered. Minutes of a schedule are `minuteMs` long. */
  openings(connectionId: string): number;
  readonly minuteMs: number;
  /** How often this work has found its row paused, and waits. */
  waits(ref: JobRef): number;
  close(): Promise<void>;
}

export function describeQueueContract(name: string, create: () => Promise<QueueUnderTest>): void {
  describe(`the import queue on ${name}`, function () {
    this.timeout(30_000);
    let under: QueueUnderTest;
    before(async () => {
      under = await create();
    });
    after(() => under.close());

    const job = (over: Partial<QueuedImport> = {}): QueuedImport => ({
      kind: "import",
      importId: randomUUID(),
      attempt: 1,
      userId: randomUUID(),
      provider: "spotify",
      jobKind: "file",
      ...over,
    });

    const undoOf = ({ importId, userId }: QueuedImport): QueuedUndo => ({
      kind: "undo",
      importId,
      userId,
      provider: "spotify",
    });

    async function until(ref: WorkRef, state: QueueState): Promise<void> {
      let now: QueueState | undefined;
      await untilTrue(
        async () => (now = await under.queue.inspect(ref)) === state,
        () => `${JSON.stringify(ref)} is ${now}, not ${state}`,
      );
    }

    async function untilTrue(
      holds: () => boolean | Promise<boolean>,
      otherwise: () => string,
    ): Promise<void> {
      const deadline = Date.now() + 15_000;
      while (!(await holds())) {
        if (Date.now() > deadline) throw new Error(otherwise());
        await sleep(50);
      }
    }

    it("does not know a job that was never enqueued", async () => {
      expect(await under.queue.inspect(job())).to.equal("missing");
      expect(await under.queue.requestCancel(job())).to.equal("missing");
      expect(await under.queue.setPaused(job(), true)).to.equal("missing");
      expect(await under.queue.setPaused(job(), false)).to.equal("missing");
      expect(await under.queue.inspect(undoOf(job()))).to.equal("missing");
    });

    it("takes a job once, however often and from wherever it is enqueued", async () => {
      const one = job();
      expect(await under.queue.enqueue(one)).to.equal("started");
      expect(await under.queue.enqueue(one)).to.equal("exists");
      expect(await under.other.enqueue(one)).to.equal("exists");
      expect(await under.other.inspect(one)).to.equal("open");
    });

    it("takes a job once when it is enqueued many times at once", async () => {
      const one = job();
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, (_, n) => (n % 2 === 0 ? under.queue : under.other).enqueue(one)),
      );
      expect(outcomes.filter((outcome) => outcome === "started")).to.have.length(1);
    });

    it("keeps attempts of one job apart", async () => {
      const first = job();
      const second = { ...first, attempt: 2 };
      await under.queue.enqueue(first);
      expect(await under.queue.inspect(second)).to.equal("missing");
      expect(await under.queue.enqueue(second)).to.equal("started");
    });

    it("takes a job without a provider", async () => {
      expect(await under.queue.enqueue(job({ provider: null }))).to.equal("started");
    });

    it("runs what was enqueued before anybody worked, once, and never again after it ended", async () => {
      const [good, bad] = [job(), job()];
      under.willEnd(good, "completed");
      under.willEnd(bad, "failed");
      await under.queue.enqueue(good);
      await under.queue.enqueue(bad);
      const stop = await under.work();
      try {
        await until(good, "completed");
        await until(bad, "failed");
        expect(await under.queue.enqueue(good)).to.equal("exists");
        expect(await under.queue.enqueue(bad)).to.equal("exists");
        expect([under.runs(good), under.runs(bad)]).to.deep.equal([1, 1]);
      } finally {
        await stop();
      }
    });

    it("cancels a job that runs, and says so; asking again does no harm", async () => {
      const one = job();
      await under.queue.enqueue(one);
      const stop = await under.work();
      try {
        expect(await under.queue.requestCancel(one)).to.equal("requested");
        await until(one, "cancelled");
        await under.other.requestCancel(one);
        expect(await under.queue.inspect(one)).to.equal("cancelled");
      } finally {
        await stop();
      }
    });

    it("wakes work that waits because its job was paused, and only when it is told", async () => {
      const one = job();
      under.willEnd(one, "completed");
      under.setRow(one, "paused");
      await under.queue.enqueue(one);
      const stop = await under.work();
      try {
        await untilTrue(
          () => under.waits(one) === 1,
          () => "it does not wait",
        );
        under.setRow(one, "running");
        expect(await under.queue.inspect(one)).to.equal("open");
        expect(under.runs(one)).to.equal(0);
        expect(await under.other.setPaused(one, false)).to.equal("requested");
        await until(one, "completed");
        expect(under.runs(one)).to.equal(1);
        expect(await under.queue.setPaused(one, false)).to.equal("missing"); // over: nobody hears it
      } finally {
        await stop();
      }
    });

    it("lets work go on that was told to pause though its row says nothing of it, and wakes in vain", async () => {
      const [told, woken] = [job(), job()];
      under.willEnd(told, "completed");
      under.setRow(woken, "paused");
      await under.queue.enqueue(told);
      expect(await under.queue.setPaused(told, true)).to.equal("requested"); // also before anybody works
      await under.queue.enqueue(woken);
      const stop = await under.work();
      try {
        await until(told, "completed");
        await untilTrue(
          () => under.waits(woken) === 1,
          () => "it does not wait",
        );
        await under.queue.setPaused(woken, false);
        await untilTrue(
          () => under.waits(woken) === 2,
          () => "it was not woken",
        );
        expect(under.runs(woken)).to.equal(0);
        expect(await under.queue.requestCancel(woken)).to.equal("requested"); // also while it waits
        await until(woken, "cancelled");
      } finally {
        await stop();
      }
    });

    it("takes an undo beside the import it undoes, and once, from wherever it is enqueued", async () => {
      const one = job();
      const undo = undoOf(one);
      expect(await under.queue.enqueue(one)).to.equal("started");
      expect(await under.queue.inspect(undo)).to.equal("missing");
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, (_, n) => (n % 2 === 0 ? under.queue : under.other).enqueue(undo)),
      );
      expect(outcomes.filter((outcome) => outcome === "started")).to.have.length(1);
      expect(await under.other.inspect(undo)).to.equal("open");
    });

    it("runs an undo to its end, and again when it is enqueued again, whatever its end was", async () => {
      const [good, bad, stopped] = [undoOf(job()), undoOf(job()), undoOf(job())];
      under.willEnd(good, "completed");
      under.willEnd(bad, "failed");
      for (const undo of [good, bad, stopped]) await under.queue.enqueue(undo);
      const stop = await under.work();
      try {
        await until(good, "completed");
        await until(bad, "failed");
        await untilTrue(
          () => under.runs(stopped) === 1,
          () => "it does not run",
        );
        await under.terminate(stopped);
        await until(stopped, "terminated");
        for (const undo of [good, bad, stopped]) {
          under.willEnd(undo, "completed");
          expect(await under.queue.enqueue(undo)).to.equal("started");
          await until(undo, "completed");
          expect(under.runs(undo)).to.equal(2);
        }
      } finally {
        await stop();
      }
    });

    it("takes an erase once at a time, runs it to its end, and again when it is enqueued again", async () => {
      const erase: QueuedErase = { kind: "erase", userId: randomUUID() };
      expect(await under.queue.inspect(erase)).to.equal("missing");
      const outcomes = await Promise.all(
        Array.from({ length: 6 }, (_, n) => (n % 2 === 0 ? under.queue : under.other).enqueue(erase)),
      );
      expect(outcomes.filter((outcome) => outcome === "started")).to.have.length(1);
      expect(await under.other.inspect(erase)).to.equal("open");
      const stop = await under.work();
      try {
        await untilTrue(
          () => under.runs(erase) === 1,
          () => "it does not run",
        );
        await under.terminate(erase);
        await until(erase, "terminated");
        under.willEnd(erase, "completed");
        expect(await under.queue.enqueue(erase)).to.equal("started");
        await until(erase, "completed");
        expect(under.runs(erase)).to.equal(2);
      } finally {
        await stop();
      }
    });

    it("forgets work that is open, that has ended, and that it never knew", async () => {
      const [open, ended] = [job(), job()];
      under.willEnd(ended, "completed");
      await under.queue.enqueue(ended);
      const stop = await under.work();
      try {
        await until(ended, "completed");
      } finally {
        await stop();
      }
      await under.queue.enqueue(open);
      await until(open, "open");
      for (const work of [open, ended, undoOf(ended), job()]) {
        await under.other.forget(work);
        await under.queue.forget(work);
        expect(await under.queue.inspect(work)).to.be.oneOf(["missing", "completed", "terminated"]);
      }
    });

    const scheduleOf = (over: Partial<SyncSchedule> = {}): SyncSchedule => ({
      connectionId: randomUUID(),
      userId: randomUUID(),
      provider: "spotify",
      everyMinutes: 60,
      paused: false,
      ...over,
    });
    const listed = async (id: string): Promise<boolean> =>
      (await under.other.listSchedules()).some((each) => each === id);

    it("makes a schedule, changes it, pauses it and removes it, however often it is told", async () => {
      const schedule = scheduleOf();
      const { connectionId } = schedule;
      expect(await under.queue.inspectSchedule(connectionId)).to.equal(null);
      await under.queue.removeSchedule(connectionId);

      await under.queue.upsertSchedule(schedule);
      await under.other.upsertSchedule(schedule);
      const made = await under.other.inspectSchedule(connectionId);
      expect(made).to.include({ everyMinutes: 60, paused: false });
      const untilNext = made!.nextAt!.getTime() - Date.now();
      expect(untilNext).to.be.within(-1000, 1.05 * 60 * under.minuteMs);

      await under.other.upsertSchedule({ ...schedule, everyMinutes: 120, paused: true });
      expect(await under.queue.inspectSchedule(connectionId)).to.deep.equal({
        everyMinutes: 120,
        paused: true,
        nextAt: null,
      });
      await untilTrue(
        () => listed(connectionId),
        () => "it is not listed",
      );
      await under.queue.upsertSchedule({ ...schedule, everyMinutes: 120 });
      expect(await under.queue.inspectSchedule(connectionId)).to.include({ paused: false });

      await under.other.removeSchedule(connectionId);
      await under.queue.removeSchedule(connectionId);
      expect(await under.queue.inspectSchedule(connectionId)).to.equal(null);
      await untilTrue(
        async () => !(await listed(connectionId)),
        () => "it is still listed",
      );
    });

    it("asks for a sync each time that a schedule is due, not while it is paused, and not once it is removed", async () => {
      const [due, resting] = [scheduleOf({ everyMinutes: 1 }), scheduleOf({ everyMinutes: 1, paused: true })];
      await under.queue.upsertSchedule(due);
      await under.queue.upsertSchedule(resting);
      const stop = await under.work();
      try {
        await untilTrue(
          () => under.openings(due.connectionId) >= 2,
          () => "it was not due twice",
        );
        expect(under.openings(resting.connectionId)).to.equal(0);
        await under.queue.removeSchedule(due.connectionId);
        await under.queue.upsertSchedule({ ...resting, paused: false });
        // What was removed is silent by the time that the other, made after it, has called.
        await untilTrue(
          () => under.openings(resting.connectionId) >= 1,
          () => "it does not go on",
        );
        const before = under.openings(due.connectionId);
        await untilTrue(
          () => under.openings(resting.connectionId) >= 2,
          () => "it does not go on",
        );
        expect(under.openings(due.connectionId)).to.equal(before);
      } finally {
        await stop();
        for (const { connectionId } of [due, resting]) await under.queue.removeSchedule(connectionId);
      }
    });

    it("is healthy, and says so within its deadline", async () => {
      const health = await under.queue.health();
      expect(health).to.include({ ok: true, detail: null });
      expect(health.latencyMs).to.be.within(0, 2000);
    });

    it("gives up on a server that is not there within 3 s, as an unknown outcome", async () => {
      const calls: [string, () => Promise<unknown>][] = [
        ["enqueue", () => under.unreachable.enqueue(job())],
        ["requestCancel", () => under.unreachable.requestCancel(job())],
        ["enqueue an undo", () => under.unreachable.enqueue(undoOf(job()))],
        ["setPaused", () => under.unreachable.setPaused(job(), false)],
        ["enqueue an erase", () => under.unreachable.enqueue({ kind: "erase", userId: randomUUID() })],
        ["inspect", () => under.unreachable.inspect(job())],
        ["forget", () => under.unreachable.forget(job())],
        ["upsertSchedule", () => under.unreachable.upsertSchedule(scheduleOf())],
        ["removeSchedule", () => under.unreachable.removeSchedule(randomUUID())],
        ["inspectSchedule", () => under.unreachable.inspectSchedule(randomUUID())],
        ["listSchedules", () => under.unreachable.listSchedules()],
      ];
      await Promise.all(
        calls.map(async ([call, make]) => {
          const startedAt = Date.now();
          expect(await rejection(make()), call).to.be.instanceOf(QueueUnavailableError);
          expect(Date.now() - startedAt, call).to.be.below(3000);
        }),
      );
      const health = await under.unreachable.health();
      expect(health.ok).to.equal(false);
      expect(health.detail).to.be.a("string");
    });
  });
}
