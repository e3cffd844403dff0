import { setTimeout as sleep } from "node:timers/promises";
import { WorkflowFailedError } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { expect } from "chai";
import { rejection } from "../support/rejection.js";
import { createWorkflowBench, done, script, stateOf, until, untilCancelled } from "./scripted.js";
import type { WorkflowBench } from "./scripted.js";

/** Of one run, far below what Temporal allows. */
const MAX_EVENTS = 4000;
const MAX_PAYLOAD_BYTES = 10_000;

/** Of the bytes anywhere inside. */
function mostBytes(value: unknown): number {
  if (value instanceof Uint8Array) return value.length;
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((most: number, inner) => Math.max(most, mostBytes(inner)), 0);
}

describe("the workflow of an import", function () {
  this.timeout(90_000);
  let bench: WorkflowBench;
  before(async () => {
    bench = await createWorkflowBench();
  });
  after(() => bench.close());

  it("imports every part once, never more at a time than it was told, and finishes", async () => {
    const run = script(7, {
      importPart: async () => {
        await sleep(30);
        return done();
      },
    });
    const handle = await bench.start(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2, 3, 4, 5, 6]);
    expect(run.seen.mostAtOnce).to.equal(2);
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["completed"]);
    await bench.record("completed", handle);
  });

  it("tells people who look at it its phase, its counts and its provider", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const run = script(3, {
      importPart: async (partNo) => {
        if (partNo === 1) await held;
        return done();
      },
    });
    const handle = await bench.start(run);
    await until("two parts are done", async () => (await stateOf(handle)).partsDone === 2);
    expect(await stateOf(handle)).to.deep.equal({
      phase: "importing",
      afterPart: 2,
      inFlight: [1],
      partsTotal: 3,
      partsDone: 2,
      rowsRead: 20,
      rowsInserted: 14,
    });
    const described = await handle.describe();
    expect(described.searchAttributes).to.deep.include({
      PlaylogPhase: ["importing"],
      PlaylogProvider: ["spotify"],
    });
    release();
    await handle.result();
    expect((await handle.describe()).searchAttributes).to.deep.include({ PlaylogPhase: ["done"] });
  });

  it("writes no search attributes when it was started without", async () => {
    const handle = await bench.start(script(1), { searchAttributes: false });
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect((await handle.describe()).searchAttributes).not.to.have.any.keys(
      "PlaylogPhase",
      "PlaylogProvider",
    );
  });

  it("fails a part that no attempt can finish and imports the others", async () => {
    const run = script(3, {
      importPart: (partNo) =>
        partNo === 1 ? Promise.reject(ApplicationFailure.nonRetryable("out of memory", "broken")) : done(),
    });
    const handle = await bench.start(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.failed).to.deep.equal([{ partNo: 1, code: "resource_limit" }]);
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2]);
    await bench.record("failed-part", handle);
  });

  it("ends at once, as failed, when the upload holds nothing to import", async () => {
    const run = script(3, {
      prepareFails: ApplicationFailure.nonRetryable("nothing known", "no_known_files"),
    });
    const handle = await bench.start(run);
    const error = await rejection(handle.result());
    expect(error).to.be.instanceOf(WorkflowFailedError);
    expect(run.seen.begun).to.deep.equal([]);
    expect(run.seen.finished).to.deep.include.members([
      { ...run.seen.finished[0], outcome: "failed", code: "no_known_files", message: "nothing known" },
    ]);
    await bench.record("failed", handle);
  });

  it("stops the other parts when the job as a whole cannot go on", async () => {
    const run = script(6, {
      importPart: async (partNo) => {
        if (partNo === 1) throw ApplicationFailure.nonRetryable("the upload is gone", "storage_lost");
        return untilCancelled();
      },
    });
    const handle = await bench.start(run);
    await rejection(handle.result());
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1]);
    expect(run.seen.finished.map((input) => ("code" in input ? input.code : input.outcome))).to.deep.equal([
      "storage_lost",
    ]);
  });

  it("links what is in once it is in, before it finishes, and finishes all the same when that fails", async () => {
    const run = script(2);
    const handle = await bench.start(run);
    await handle.result();
    expect(run.seen.linked).to.equal(1);
    await bench.record("linked", handle);
    const failing = script(2, { linkFails: ApplicationFailure.nonRetryable("no", "broken") });
    expect(await (await bench.start(failing)).result()).to.deep.equal({ status: "completed" });
    expect(failing.seen.linked).to.equal(1);
    expect(failing.seen.finished).to.have.length(1);
  });

  it("finishes as cancelled when it is cancelled, and ends as cancelled", async () => {
    const run = script(4, { importPart: untilCancelled });
    const handle = await bench.start(run);
    await until("two parts are begun", () => run.seen.begun.length === 2);
    await handle.cancel();
    await rejection(handle.result());
    expect((await handle.describe()).status.name).to.equal("CANCELLED");
    expect(run.seen.begun).to.have.length(2);
    expect(run.seen.linked).to.equal(1);
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
    await bench.record("cancelled", handle);
  });

  it("finishes as cancelled when a part finds that the job was asked to stop", async () => {
    const run = script(4, { importPart: () => Promise.resolve({ status: "stopped", read: 1, inserted: 1 }) });
    const handle = await bench.start(run);
    await handle.result();
    expect(run.seen.begun.length).to.be.at.most(2);
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
    await bench.record("stopped", handle);
  });

  it("leaves a job alone that was closed before it came to it", async () => {
    const run = script(2, { prepareFails: ApplicationFailure.nonRetryable("closed", "job_closed") });
    const handle = await bench.start(run);
    expect(await handle.result()).to.deep.equal({ status: "closed" });
    expect(run.seen.finished).to.deep.equal([]);
    await bench.record("closed", handle);
  });

  it("goes on in a new run when its history has grown long, and does every part once", async () => {
    const parts = 510;
    const run = script(parts);
    const handle = await bench.start(run, { parallelParts: 16, searchAttributes: false });
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(new Set(run.seen.begun).size).to.equal(parts);
    expect(run.seen.begun).to.have.length(parts);
    expect(run.seen.finished).to.have.length(1);
    const first = bench.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId);
    expect((await first.describe()).status.name).to.equal("CONTINUED_AS_NEW");
    const { events } = await first.fetchHistory();
    expect(events?.length).to.be.within(parts, MAX_EVENTS);
    expect(mostBytes(events)).to.be.within(1, MAX_PAYLOAD_BYTES);
    await bench.record("continued-as-new", first);
    await bench.record("continued", bench.client.workflow.getHandle(handle.workflowId));
  });
});
