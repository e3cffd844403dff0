import { ApplicationFailure } from "@temporalio/common";
import { expect } from "chai";
import { createWorkflowBench, eraseScript, until } from "./scripted.js";
import type { WorkflowBench } from "./scripted.js";

describe("the workflow of an erase", function () {
  this.timeout(60_000);
  let bench: WorkflowBench;
  before(async () => {
    bench = await createWorkflowBench();
  });
  after(() => bench.close());

  it("waits until the imports are at rest, then erases, and says how much it was", async () => {
    const run = eraseScript({ underWay: [2, 1, 0] });
    const handle = await bench.startErase(run);
    expect(await handle.result()).to.deep.equal({ plays: 30, imports: 2 });
    expect(run.seen).to.deep.equal(["stop", "stop", "stop", "erase"]);
    expect((await handle.describe()).searchAttributes).to.deep.include({ PlaylogPhase: ["done"] });
    await bench.record("erased", handle);
  });

  it("begins again when something came in meanwhile", async () => {
    const run = eraseScript({ finished: [false, true] });
    const handle = await bench.startErase(run);
    expect(await handle.result()).to.deep.equal({ plays: 60, imports: 4 });
    expect(run.seen).to.deep.equal(["stop", "erase", "stop", "erase"]);
    await bench.record("erased-in-two-rounds", handle);
  });

  it("tries again, however often it takes", async () => {
    const away = ApplicationFailure.retryable("away", "database");
    const run = eraseScript({ failures: [away, away] });
    const handle = await bench.startErase(run);
    expect(await handle.result()).to.deep.equal({ plays: 30, imports: 2 });
    expect(run.seen).to.deep.equal(["stop", "erase", "erase", "erase"]);
    await bench.record("erase-tried-again", handle);
  });

  it("comes to its end though somebody cancels it", async () => {
    const run = eraseScript({ underWay: [1, 0] });
    const handle = await bench.startErase(run);
    await until("it is at work", () => run.seen.length > 0);
    expect((await handle.describe()).searchAttributes).to.deep.include({ PlaylogPhase: ["erasing"] });
    await handle.cancel();
    expect(await handle.result()).to.deep.equal({ plays: 30, imports: 2 });
    expect((await handle.describe()).status.name).to.equal("COMPLETED");
    await bench.record("erase-not-cancelled", handle);
  });
});
