import { ApplicationFailure } from "@temporalio/common";
import { expect } from "chai";
import { PAUSE_SIGNAL } from "../../workflows/contracts.js";
import type { SyncStepResult } from "../../workflows/contracts.js";
import { rejection } from "../support/rejection.js";
import { createWorkflowBench, script, stateOf, SYNC_LANE, until } from "./scripted.js";
import type { WorkflowBench } from "./scripted.js";

const LONG_MS = 80_000_000;

describe("the workflow of a sync", function () {
  this.timeout(90_000);
  let bench: WorkflowBench;
  before(async () => {
    bench = await createWorkflowBench();
  });
  after(() => bench.close());

  const more: SyncStepResult = { status: "more", read: 50, inserted: 20 };
  const done: SyncStepResult = { status: "done", read: 7, inserted: 7 };
  const waiting = (ms: number): SyncStepResult => ({
    status: "waiting",
    until: new Date(Date.now() + ms).toISOString(),
    reason: "rate_limited",
  });
  const steps =
    (...results: readonly (SyncStepResult | (() => SyncStepResult))[]) =>
    (n: number): Promise<SyncStepResult> => {
      const result = results[n - 1] ?? done;
      return Promise.resolve(typeof result === "function" ? result() : result);
    };
  const start = (run: ReturnType<typeof script>) => bench.start(run, { sync: true, syncLane: SYNC_LANE });

  it("asks for page after page, and finishes when there is no more", async () => {
    const run = script(0, { sync: steps(more, more, done) });
    const handle = await start(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen).to.include({ synced: 3, prepared: 0 });
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["completed"]);
    expect(await stateOf(handle)).to.include({ phase: "done", rowsRead: 107, rowsInserted: 47 });
    await bench.record("synced", handle);
  });

  it("waits out a short limit, and then asks again", async () => {
    const run = script(0, { sync: steps(() => waiting(1200), more, done) });
    const startedAt = Date.now();
    const handle = await start(run);
    await handle.result();
    expect(Date.now() - startedAt).to.be.at.least(1100);
    expect(run.seen.synced).to.equal(3);
    await bench.record("synced-after-a-wait", handle);
  });

  it("holds a timer as long as the provider asks for, which outlives its worker, and a cancel ends it", async () => {
    const run = script(0, { sync: steps(more, () => waiting(LONG_MS)) });
    const handle = await start(run);
    await until("it waits", async () => (await stateOf(handle)).phase === "waiting");
    const { events } = await handle.fetchHistory();
    const timers = (events ?? []).flatMap((event) => event.timerStartedEventAttributes ?? []);
    expect(timers).to.have.length(1);
    expect(Number(timers[0]!.startToFireTimeout!.seconds)).to.be.within(79_990, 80_000);
    await bench.restartWorker();
    expect((await stateOf(handle)).phase).to.equal("waiting");
    await handle.cancel();
    await rejection(handle.result());
    expect((await handle.describe()).status.name).to.equal("CANCELLED");
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
    expect(run.seen.synced).to.equal(2);
    await bench.record("sync-cancelled-while-waiting", handle);
  });

  it("lets a pause end its wait, and asks again once it is resumed", async () => {
    const run = script(0, { sync: steps(() => waiting(LONG_MS), done) });
    const handle = await start(run);
    await until("it waits", async () => (await stateOf(handle)).phase === "waiting");
    run.row.paused = true;
    await handle.signal(PAUSE_SIGNAL, true);
    await until("it rests", () => run.seen.parked === 1);
    expect(run.seen.synced).to.equal(1);
    run.row.paused = false;
    await handle.signal(PAUSE_SIGNAL, false);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.synced).to.equal(2);
    await bench.record("sync-paused-while-waiting", handle);
  });

  it("imports the file that a provider gave as it does any upload", async () => {
    const run = script(3, { sync: steps(() => waiting(50), { status: "upload" }) });
    const handle = await start(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen).to.include({ synced: 2, prepared: 1 });
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2]);
    await bench.record("synced-by-file", handle);
  });

  it("ends as failed when the provider cannot be asked, and as cancelled when a step finds that", async () => {
    const failed = script(0, {
      sync: () => Promise.reject(ApplicationFailure.nonRetryable("connect again", "provider")),
    });
    const handle = await start(failed);
    await rejection(handle.result());
    expect(failed.seen.finished).to.deep.include.members([
      { ...failed.seen.finished[0], outcome: "failed", code: "provider", message: "connect again" },
    ]);
    await bench.record("sync-failed", handle);
    const stopped = script(0, { sync: steps({ status: "stopped" }) });
    await (await start(stopped)).result();
    expect(stopped.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
  });

  it("goes on in a new run when it has asked for many pages", async () => {
    const pages = 55;
    const run = script(0, { sync: (n) => Promise.resolve(n < pages ? more : done) });
    const handle = await bench.start(run, { sync: true, syncLane: SYNC_LANE, searchAttributes: false });
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.synced).to.equal(pages);
    const first = bench.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId);
    expect((await first.describe()).status.name).to.equal("CONTINUED_AS_NEW");
    const last = bench.client.workflow.getHandle(handle.workflowId);
    expect(await stateOf(last)).to.include({ rowsRead: 50 * (pages - 1) + 7 });
    await bench.record("sync-continued-as-new", first);
    await bench.record("sync-continued", last);
  });

  it("is opened by a workflow of its own when its schedule is due", async () => {
    const handle = await bench.startDue();
    expect(await handle.result()).to.include({ outcome: "opened", refused: null });
    await bench.record("due", handle);
  });
});
