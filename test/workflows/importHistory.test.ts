import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Context } from "@temporalio/activity";
import { Client, Connection, WorkflowFailedError } from "@temporalio/client";
import type { WorkflowHandle, WorkflowHandleWithFirstExecutionRunId } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { NativeConnection, Worker } from "@temporalio/worker";
import { expect } from "chai";
import { registerSearchAttributes } from "../../activities/searchAttributes.js";
import { importWorkflowId, STATE_QUERY, WORKFLOW_TYPES } from "../../workflows/contracts.js";
import type {
  FinishInput,
  ImportActivities,
  ImportHistoryInput,
  ImportState,
  PartResult,
} from "../../workflows/contracts.js";
import { quietLog } from "../services/import/importing.js";
import { rejection } from "../support/rejection.js";
import { testStack } from "../support/stack.js";
import { quietRuntime } from "./quietRuntime.js";

const HISTORIES = path.join(import.meta.dirname, "histories");

/** What the activities of a run do, and what they saw. Only their answers matter to a workflow. */
interface Script {
  readonly parts: number;
  readonly importPart?: (partNo: number) => Promise<PartResult>;
  readonly prepareFails?: ApplicationFailure;
  readonly seen: {
    readonly begun: number[];
    readonly failed: { partNo: number; code: string }[];
    readonly finished: FinishInput[];
    mostAtOnce: number;
  };
}

const done = (): Promise<PartResult> => Promise.resolve({ status: "done", read: 10, inserted: 7 });

const script = (parts: number, over: Partial<Omit<Script, "seen" | "parts">> = {}): Script => ({
  parts,
  ...over,
  seen: { begun: [], failed: [], finished: [], mostAtOnce: 0 },
});

describe("the workflow of an import", function () {
  this.timeout(90_000);
  let native: NativeConnection;
  let connection: Connection;
  let client: Client;
  let worker: Worker;
  let running: Promise<void>;
  const taskQueue = `workflow-${randomUUID()}`;
  const scripts = new Map<string, Script>();

  before(async () => {
    quietRuntime();
    const { temporalAddress, workflowBundle } = testStack();
    native = await NativeConnection.connect({ address: temporalAddress });
    await registerSearchAttributes(native, "default", quietLog);
    connection = await Connection.connect({ address: temporalAddress });
    client = new Client({ connection });
    worker = await Worker.create({
      connection: native,
      taskQueue,
      activities: { ...scriptedActivities(scripts) },
      workflowBundle: { codePath: workflowBundle },
      maxHeartbeatThrottleInterval: 50,
    });
    running = worker.run();
  });
  after(async () => {
    worker.shutdown();
    await running;
    await connection.close();
    await native.close();
  });

  async function start(
    run: Script,
    over: Partial<ImportHistoryInput> = {},
  ): Promise<WorkflowHandleWithFirstExecutionRunId> {
    const importId = randomUUID();
    scripts.set(importId, run);
    const input: ImportHistoryInput = {
      importId,
      attempt: 1,
      parallelParts: 2,
      heartbeatTimeoutMs: 5000,
      searchAttributes: true,
      ...over,
    };
    return client.workflow.start(WORKFLOW_TYPES.importHistory, {
      workflowId: importWorkflowId(importId, 1),
      taskQueue,
      args: [input],
    });
  }

  /** `PLAYLOG_RECORD=1 npx mocha test/workflows` writes the histories that replay.test.ts holds the code to. */
  async function record(name: string, handle: WorkflowHandle): Promise<void> {
    if (process.env["PLAYLOG_RECORD"] !== "1") return;
    await mkdir(HISTORIES, { recursive: true });
    // Of the machine it was recorded on, nothing.
    const impersonal = (key: string, value: unknown): unknown =>
      key === "stackTrace" ? "" : key === "identity" ? "recorder" : value;
    const history: unknown = JSON.parse(historyToJSON(await handle.fetchHistory()), impersonal);
    await writeFile(path.join(HISTORIES, `${name}.json`), `${JSON.stringify(history, null, 1)}\n`);
  }

  it("imports every part once, never more at a time than it was told, and finishes", async () => {
    const run = script(7, {
      importPart: async () => {
        await sleep(30);
        return done();
      },
    });
    const handle = await start(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2, 3, 4, 5, 6]);
    expect(run.seen.mostAtOnce).to.equal(2);
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["completed"]);
    await record("completed", handle);
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
    const handle = await start(run);
    let state: ImportState;
    do {
      await sleep(50);
      state = await handle.query<ImportState>(STATE_QUERY);
    } while (state.partsDone < 2);
    expect(state).to.deep.equal({
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
    const handle = await start(script(1), { searchAttributes: false });
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
    const handle = await start(run);
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(run.seen.failed).to.deep.equal([{ partNo: 1, code: "resource_limit" }]);
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1, 2]);
    await record("failed-part", handle);
  });

  it("ends at once, as failed, when the upload holds nothing to import", async () => {
    const run = script(3, {
      prepareFails: ApplicationFailure.nonRetryable("nothing known", "no_known_files"),
    });
    const handle = await start(run);
    const error = await rejection(handle.result());
    expect(error).to.be.instanceOf(WorkflowFailedError);
    expect(run.seen.begun).to.deep.equal([]);
    expect(run.seen.finished).to.deep.include.members([
      { ...run.seen.finished[0], outcome: "failed", code: "no_known_files", message: "nothing known" },
    ]);
    await record("failed", handle);
  });

  it("stops the other parts when the job as a whole cannot go on", async () => {
    const run = script(6, {
      importPart: async (partNo) => {
        if (partNo === 1) throw ApplicationFailure.nonRetryable("the upload is gone", "storage_lost");
        return untilCancelled();
      },
    });
    const handle = await start(run);
    await rejection(handle.result());
    expect([...run.seen.begun].sort()).to.deep.equal([0, 1]);
    expect(run.seen.finished.map((input) => ("code" in input ? input.code : input.outcome))).to.deep.equal([
      "storage_lost",
    ]);
  });

  it("finishes as cancelled when it is cancelled, and ends as cancelled", async () => {
    const run = script(4, { importPart: untilCancelled });
    const handle = await start(run);
    while (run.seen.begun.length < 2) await sleep(20);
    await handle.cancel();
    await rejection(handle.result());
    expect((await handle.describe()).status.name).to.equal("CANCELLED");
    expect(run.seen.begun).to.have.length(2);
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
    await record("cancelled", handle);
  });

  it("finishes as cancelled when a part finds that the job was asked to stop", async () => {
    const run = script(4, { importPart: () => Promise.resolve({ status: "stopped", read: 1, inserted: 1 }) });
    const handle = await start(run);
    await handle.result();
    expect(run.seen.begun.length).to.be.at.most(2);
    expect(run.seen.finished.map(({ outcome }) => outcome)).to.deep.equal(["cancelled"]);
    await record("stopped", handle);
  });

  it("leaves a job alone that was closed before it came to it", async () => {
    const run = script(2, { prepareFails: ApplicationFailure.nonRetryable("closed", "job_closed") });
    const handle = await start(run);
    expect(await handle.result()).to.deep.equal({ status: "closed" });
    expect(run.seen.finished).to.deep.equal([]);
    await record("closed", handle);
  });

  it("goes on in a new run when its history has grown long, and does every part once", async () => {
    const parts = 510;
    const run = script(parts);
    const handle = await start(run, { parallelParts: 16, searchAttributes: false });
    expect(await handle.result()).to.deep.equal({ status: "completed" });
    expect(new Set(run.seen.begun).size).to.equal(parts);
    expect(run.seen.begun).to.have.length(parts);
    expect(run.seen.finished).to.have.length(1);
    const first = client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId);
    expect((await first.describe()).status.name).to.equal("CONTINUED_AS_NEW");
  });
});

async function untilCancelled(): Promise<never> {
  const context = Context.current();
  for (;;) {
    context.heartbeat();
    await context.sleep(50);
  }
}

function scriptedActivities(scripts: ReadonlyMap<string, Script>): ImportActivities {
  const of = ({ importId }: { importId: string }): Script => scripts.get(importId)!;
  const working = new Map<string, number>();
  return {
    prepare(ref) {
      const { parts, prepareFails } = of(ref);
      if (prepareFails !== undefined) return Promise.reject(prepareFails);
      return Promise.resolve({ partsTotal: parts, partsOpen: parts, provider: "spotify" });
    },
    openParts({ afterPart, limit, ...ref }) {
      const all = Array.from({ length: of(ref).parts }, (_, partNo) => partNo);
      return Promise.resolve(all.filter((partNo) => partNo > afterPart).slice(0, limit));
    },
    async importPart({ partNo, importId }) {
      const { importPart = done, seen } = of({ importId });
      const count = (working.get(importId) ?? 0) + 1;
      working.set(importId, count);
      seen.mostAtOnce = Math.max(seen.mostAtOnce, count);
      seen.begun.push(partNo);
      try {
        return await importPart(partNo);
      } finally {
        working.set(importId, (working.get(importId) ?? 1) - 1);
      }
    },
    failPart({ partNo, code, ...ref }) {
      of(ref).seen.failed.push({ partNo, code });
      return Promise.resolve({ status: "failed", read: 0, inserted: 0 });
    },
    park: () => Promise.resolve({ parked: false }),
    unpark: () => Promise.resolve({ resumed: true }),
    undoImport: () => Promise.resolve({ removed: 0, handedOver: 0 }),
    finish(input) {
      of(input).seen.finished.push(input);
      return Promise.resolve({ status: input.outcome });
    },
  };
}
