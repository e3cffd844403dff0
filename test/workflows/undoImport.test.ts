import { WorkflowFailedError } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { expect } from "chai";
import { rejection } from "../support/rejection.js";
import { createWorkflowBench, script, until } from "./scripted.js";
import type { Script, WorkflowBench } from "./scripted.js";

describe("the workflow of an undo", function () {
  this.timeout(60_000);
  let bench: WorkflowBench;
  before(async () => {
    bench = await createWorkflowBench();
  });
  after(() => bench.close());

  it("takes the import back once, and says how many plays it was", async () => {
    const run = script(0);
    const handle = await bench.startUndo(run);
    expect(await handle.result()).to.deep.equal({ removed: 12, handedOver: 3 });
    expect(run.seen.undone).to.equal(1);
    expect((await handle.describe()).searchAttributes).to.deep.include({ PlaylogPhase: ["done"] });
    await bench.record("undone", handle);
  });

  it("tries again, however often it takes", async () => {
    const run: Script = script(0, {
      undo: () =>
        run.seen.undone < 3
          ? Promise.reject(ApplicationFailure.retryable("away", "database"))
          : Promise.resolve({ removed: 1, handedOver: 0 }),
    });
    const handle = await bench.startUndo(run);
    expect(await handle.result()).to.deep.equal({ removed: 1, handedOver: 0 });
    expect(run.seen.undone).to.equal(3);
    await bench.record("undo-tried-again", handle);
  });

  it("comes to its end though somebody cancels it", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const run = script(0, {
      undo: async () => {
        await held;
        return { removed: 5, handedOver: 0 };
      },
    });
    const handle = await bench.startUndo(run);
    await until("it is at work", () => run.seen.undone === 1);
    expect((await handle.describe()).searchAttributes).to.deep.include({ PlaylogPhase: ["undoing"] });
    await handle.cancel();
    release();
    expect(await handle.result()).to.deep.equal({ removed: 5, handedOver: 0 });
    expect((await handle.describe()).status.name).to.equal("COMPLETED");
    await bench.record("undo-not-cancelled", handle);
  });

  it("ends without a word when there is nothing to undo", async () => {
    const run = script(0, {
      undo: () => Promise.reject(ApplicationFailure.nonRetryable("no", "job_closed")),
    });
    expect(await (await bench.startUndo(run)).result()).to.deep.equal({ removed: 0, handedOver: 0 });
  });

  it("fails when the account is gone: nobody is left to undo it for", async () => {
    const run = script(0, {
      undo: () => Promise.reject(ApplicationFailure.nonRetryable("no", "owner_gone")),
    });
    const handle = await bench.startUndo(run);
    expect(await rejection(handle.result())).to.be.instanceOf(WorkflowFailedError);
    expect(run.seen.undone).to.equal(1);
  });
});
