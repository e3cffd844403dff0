import type { WorkflowHandle } from "@temporalio/client";
import { expect } from "chai";
import { PAUSE_SIGNAL } from "../../workflows/contracts.js";
import type { PartResult } from "../../workflows/contracts.js";
import { rejection } from "../support/rejection.js";
import { createWorkflowBench, done, script, stateOf, until } from "./scripted.js";
import type { Script, WorkflowBench } from "./scripted.js";

const PAUSED: PartResult = { status: "paused", read: 4, inserted: 4 };

describe("the workflow of a paused import", function () {
  this.timeout(90_000);
  let bench: WorkflowBench;
  before(async () => {
    bench = await createWorkflowBench();
  });
  after(() => bench.close());

  /** Parts 2 and later find the job paused as long as it is; those before are done. */
  function pausedAtPart2(over: { readonly parts?: number } = {}): Script {
    const row = { paused: true };
    const importPart = (partNo: number): Promise<PartResult> =>
      row.paused && partNo >= 2 ? Promise.resolve(PAUSED) : done();
    return script(over.parts ?? 5, { row, importPart });
  }
  const started = async (run: Script): Promise<WorkflowHandle> => {
    run.row.paused = false; // prepared before it is paused
    const handle = await bench.start(run);
    await until("it is prepared", () => run.seen.prepared > 0);
    run.row.paused = true;
    return handle;
  };
  const parked = (run: Script, times = 1) =>
    until(`parked ${times} times`, () => run.seen.parked + run.seen.unparked >= times);
  const phaseOf = async (handle: WorkflowHandle) =>
    (await handle.describe()).typedSearchAttributes.getAll().find(({ key }) => key.name === "PlaylogPhase")
      ?.value;
  const resume = async (run: Script, handle: WorkflowHandle): Promise<void> => {
    run.row.paused = false;
    await handle.signal(PAUSE_SIGNAL, false);
  };

  it("waits until it is resumed, then imports what is open and nothing twice", async () => {
    let paused = false;
    const run: Script = script(6, {
      importPart: (partNo) => {
        if (partNo === 2 && !paused) run.row.paused = paused = true;
        return run.row.paused ? Promise.resolve(PAUSED) : done();
      },
    });
    const handle = await bench.start(run);
    await parked(run);
    await until("its phase is shown", async () => (await phaseOf(handle)) === "paused");
    expect(await stateOf(handle)).to.include({ phase: "paused", partsTotal: 6 });
    const doneBefore = run.seen.settled.size;
    expect(doneBefore).to.be.within(2, 3);
    expect(run.seen.finished).to.deep.equal([]);

    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.settled.size).to.equal(6);
    const twice = run.seen.begun.filter((partNo, index) => run.seen.begun.indexOf(partNo) !== index);
    expect(twice.length).to.be.within(1, 2); // only those that were paused half way
    expect(await phaseOf(handle)).to.equal("done");
    await bench.record("paused-and-resumed", handle);
  });

  it("is prepared again when it was paused before it had begun", async () => {
    const run = script(2, { row: { paused: true } });
    const handle = await bench.start(run);
    await parked(run);
    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.prepared).to.equal(2);
    await bench.record("paused-before-it-began", handle);
  });

  it("starts nothing new once it is told, lets what runs come to its end, then looks at the row", async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    const run = script(5, {
      importPart: async () => {
        await held;
        return done();
      },
    });
    const handle = await bench.start(run);
    await until("two parts run", () => run.seen.begun.length === 2);
    run.row.paused = true;
    await handle.signal(PAUSE_SIGNAL, true);
    release();
    await parked(run);
    expect(run.seen.begun).to.have.length(2);
    await resume(run, handle);
    await handle.result();
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it("leaves no part out when it is resumed before those that run have heard of the pause", async () => {
    const releases: (() => void)[] = [];
    const run = script(5, {
      importPart: async (partNo) => {
        if (partNo < 2) await new Promise<void>((resolve) => (releases[partNo] = resolve));
        return done();
      },
    });
    const handle = await bench.start(run);
    await until("two parts run", () => releases.filter((release) => release !== undefined).length === 2);
    await handle.signal(PAUSE_SIGNAL, true);
    releases[0]!();
    await until("one is done", async () => (await stateOf(handle)).partsDone === 1);
    await handle.signal(PAUSE_SIGNAL, false);
    releases[1]!();
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it("goes on at once when the row says that it is not paused any more, whatever it was told", async () => {
    const run = script(4);
    const handle = await bench.start(run);
    await handle.signal(PAUSE_SIGNAL, true);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.unparked).to.equal(0);
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2, 3]);
  });

  it("hears a wake-up that comes while it is being parked", async () => {
    const run: Script = script(1, {
      importPart: () => (run.row.paused ? Promise.resolve(PAUSED) : done()),
      whileParking: () => resume(run, handle),
    });
    const handle = await started(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect([run.seen.parked, run.seen.unparked]).to.deep.equal([1, 1]);
  });

  it("goes on waiting when it is woken and the row is paused still, or again", async () => {
    const run = pausedAtPart2();
    const handle = await started(run);
    await parked(run);
    for (let wakeUps = 1; wakeUps <= 3; wakeUps += 1) {
      await handle.signal(PAUSE_SIGNAL, false);
      await parked(run, 1 + wakeUps);
    }
    expect(await stateOf(handle)).to.include({ phase: "paused" });
    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect([run.seen.parked, run.seen.unparked]).to.deep.equal([1, 4]);
  });

  it("looks at the row once a day when nobody wakes it", async () => {
    const run = pausedAtPart2();
    const handle = await started(run);
    await parked(run);
    let timers: (number | undefined)[] = [];
    await until("a timer runs", async () => {
      const { events } = await handle.fetchHistory();
      timers = (events ?? []).flatMap(({ timerStartedEventAttributes: timer }) =>
        timer == null ? [] : [Number(timer.startToFireTimeout?.seconds)],
      );
      return timers.length > 0;
    });
    expect(timers).to.deep.equal([24 * 60 * 60]);
    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
  });

  it("ends when it is woken and the job was closed over its head", async () => {
    const run = pausedAtPart2();
    const handle = await started(run);
    await parked(run);
    run.row.closed = true;
    await handle.signal(PAUSE_SIGNAL, false);
    expect(await handle.result()).to.deep.equal({ status: "closed" });
    expect(run.seen.finished).to.deep.equal([]);
  });

  it("may be paused as often as anybody likes", async () => {
    const run = pausedAtPart2({ parts: 3 });
    const handle = await started(run);
    for (let round = 1; round <= 4; round += 1) {
      await until(`parked the ${round}. time`, () => run.seen.parked === round);
      await resume(run, handle);
      await until("it goes on", () => run.seen.unparked === round);
      if (round < 4) run.row.paused = true;
    }
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.settled.size).to.equal(3);
  });

  it("stays paused when its last part is done already, and is closed once it is resumed", async () => {
    const run: Script = script(2, {
      importPart: (partNo) => {
        if (partNo === 1) run.row.paused = true;
        return done();
      },
    });
    const handle = await bench.start(run);
    await parked(run);
    expect(run.seen.finished).to.have.length(1);
    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.finished).to.have.length(2);
    expect(run.seen.begun).to.have.length(2);
    await bench.record("paused-at-the-end", handle);
  });

  it("ends as cancelled when it is cancelled while it waits", async () => {
    const run = pausedAtPart2();
    const handle = await started(run);
    await parked(run);
    await handle.cancel();
    await rejection(handle.result());
    expect((await handle.describe()).status.name).to.equal("CANCELLED");
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
    await bench.record("cancelled-while-paused", handle);
  });

  it("goes on waiting in another worker, and is resumed there", async () => {
    const run = pausedAtPart2();
    const handle = await started(run);
    await parked(run);
    await bench.restartWorker();
    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.settled.size).to.equal(5);
  });

  it("goes on in a new run after a pause as after anything else", async () => {
    const parts = 505;
    const run: Script = script(parts, {
      importPart: (partNo) => {
        if (partNo === 200 && run.seen.parked === 0) run.row.paused = true;
        return run.row.paused ? Promise.resolve(PAUSED) : done();
      },
    });
    const handle = await bench.start(run, { parallelParts: 16, searchAttributes: false });
    await parked(run);
    await resume(run, handle);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.settled.size).to.equal(parts);
    expect(run.seen.finished).to.have.length(1);
  });
});
