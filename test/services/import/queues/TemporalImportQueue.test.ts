import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { Context } from "@temporalio/activity";
import { ApplicationFailure } from "@temporalio/common";
import { NativeConnection, Worker } from "@temporalio/worker";
import { expect } from "chai";
import { registerSearchAttributes } from "../../../../activities/searchAttributes.js";
import { TemporalImportQueue } from "../../../../services/import/queues/TemporalImportQueue.js";
import type { TemporalImportQueueOptions } from "../../../../services/import/queues/TemporalImportQueue.js";
import { workIdOf } from "../../../../services/import/queues/workIds.js";
import type { JobRef } from "../../../../services/import/ImportQueue.js";
import {
  DUE_LANE,
  eraseWorkflowId,
  importWorkflowId,
  syncTaskQueue,
  undoWorkflowId,
} from "../../../../workflows/contracts.js";
import type { WorkerActivities } from "../../../../workflows/contracts.js";
import { freePort } from "../../../support/processes.js";
import { testStack } from "../../../support/stack.js";
import { quietRuntime } from "../../../workflows/quietRuntime.js";
import { quietLog } from "../importing.js";
import { describeQueueContract } from "../queueContract.js";

/** The shortest interval there is. */
const MINUTE_MS = 1000;

const optionsFor = (taskQueue: string, address: string): TemporalImportQueueOptions => ({
  address,
  namespace: "default",
  taskQueue,
  parallelParts: 2,
  heartbeatTimeoutMs: 1000,
  log: quietLog,
  scheduleMinuteMs: MINUTE_MS,
});

describeQueueContract("Temporal", async () => {
  quietRuntime();
  const { temporalAddress, workflowBundle } = testStack();
  const taskQueue = `contract-${randomUUID()}`;
  const connection = await NativeConnection.connect({ address: temporalAddress });
  await registerSearchAttributes(connection, "default", quietLog);
  const nowhere = `127.0.0.1:${await freePort()}`;
  const queues = [temporalAddress, temporalAddress, nowhere].map(
    (address) => new TemporalImportQueue(optionsFor(taskQueue, address)),
  );
  const [queue, other, unreachable] = queues as [
    TemporalImportQueue,
    TemporalImportQueue,
    TemporalImportQueue,
  ];
  const client = await Connection.connect({ address: temporalAddress });
  // All by workflow id.
  const endings = new Map<string, "completed" | "failed">();
  const begun = new Map<string, number>();
  const waited = new Map<string, number>();
  const paused = new Set<string>();
  const openings = new Map<string, number>();
  const count = (counts: Map<string, number>, id: string): void =>
    void counts.set(id, (counts.get(id) ?? 0) + 1);
  const idOf = (ref: JobRef): string => importWorkflowId(ref.importId, ref.attempt);
  const untilCancelled = async (): Promise<never> => {
    const context = Context.current();
    for (;;) {
      context.heartbeat();
      await context.sleep(100);
    }
  };
  const look = (ref: JobRef): boolean => {
    const waits = paused.has(idOf(ref));
    if (waits) count(waited, idOf(ref));
    return waits;
  };
  // The steps of these jobs do nothing but end as they were told, or run until they are cancelled.
  const activities: WorkerActivities = {
    prepare(ref) {
      const id = idOf(ref);
      if (paused.has(id)) return Promise.resolve({ paused: true, partsTotal: 0, partsOpen: 0, provider: "" });
      count(begun, id);
      const ending = endings.get(id);
      if (ending === "failed") throw ApplicationFailure.nonRetryable("told to", "no_known_files");
      if (ending === "completed")
        return Promise.resolve({ partsTotal: 0, partsOpen: 0, provider: "spotify" });
      return untilCancelled();
    },
    linkPlays: () => Promise.resolve({ linked: 0 }),
    openParts: () => Promise.resolve([]),
    importPart: () => Promise.reject(new Error("there are no parts")),
    failPart: () => Promise.reject(new Error("there are no parts")),
    finish: ({ outcome }) => Promise.resolve({ status: outcome }),
    park: (ref) => Promise.resolve({ parked: look(ref) }),
    unpark: (ref) => Promise.resolve({ resumed: !look(ref) }),
    undoImport({ importId }) {
      const id = undoWorkflowId(importId);
      count(begun, id);
      const ending = endings.get(id);
      if (ending === "failed") throw ApplicationFailure.nonRetryable("told to", "owner_gone");
      if (ending === "completed") return Promise.resolve({ removed: 1, handedOver: 0 });
      return untilCancelled();
    },
    stopImports: () => Promise.resolve({ underWay: 0 }),
    eraseAccount({ userId }) {
      const id = eraseWorkflowId(userId);
      count(begun, id);
      if (endings.get(id) === "completed") return Promise.resolve({ plays: 1, imports: 0, finished: true });
      return untilCancelled();
    },
    syncStep: () => Promise.reject(new Error("there are no syncs")),
    openSync({ connectionId }) {
      count(openings, connectionId);
      return Promise.resolve({ outcome: "refused", importId: null, refused: "test" });
    },
  };
  return {
    minuteMs: MINUTE_MS,
    openings: (connectionId) => openings.get(connectionId) ?? 0,
    queue,
    other,
    unreachable,
    async work() {
      const shared = { connection, activities: { ...activities }, maxHeartbeatThrottleInterval: 100 };
      const workers = await Promise.all([
        Worker.create({ ...shared, taskQueue, workflowBundle: { codePath: workflowBundle } }),
        Worker.create({ ...shared, taskQueue: syncTaskQueue(taskQueue, DUE_LANE) }),
      ]);
      const running = Promise.all(workers.map((worker) => worker.run()));
      return async () => {
        for (const worker of workers) worker.shutdown();
        await running;
      };
    },
    willEnd: (ref, how) => endings.set(workIdOf(ref), how),
    setRow: (ref, row) => (row === "paused" ? paused.add(idOf(ref)) : paused.delete(idOf(ref))),
    terminate: async (ref) => {
      await new Client({ connection: client }).workflow.getHandle(workIdOf(ref)).terminate("test");
    },
    runs: (ref) => begun.get(workIdOf(ref)) ?? 0,
    waits: (ref) => waited.get(idOf(ref)) ?? 0,
    async close() {
      await Promise.all([...queues.map((each) => each.close()), client.close()]);
      await connection.close();
    },
  };
});

describe("what the Temporal UI is told about an import", () => {
  before(async () => {
    quietRuntime();
    const native = await NativeConnection.connect({ address: testStack().temporalAddress });
    await registerSearchAttributes(native, "default", quietLog);
    await registerSearchAttributes(native, "default", quietLog); // a second worker does the same
    await native.close();
  });

  it("has the user, kind, provider and phase as search attributes, and a summary", async () => {
    const { temporalAddress } = testStack();
    const queue = new TemporalImportQueue(optionsFor(`ui-${randomUUID()}`, temporalAddress));
    const connection = await Connection.connect({ address: temporalAddress });
    try {
      const job = { importId: randomUUID(), attempt: 1, userId: randomUUID() };
      await queue.enqueue({ kind: "import", ...job, provider: "spotify", jobKind: "file" });
      const client = new Client({ connection });
      const described = await client.workflow.getHandle(importWorkflowId(job.importId, 1)).describe();
      expect(
        Object.fromEntries(
          described.typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]),
        ),
      ).to.deep.include({
        PlaylogUserId: job.userId,
        PlaylogProvider: "spotify",
        PlaylogJobKind: "file",
        PlaylogPhase: "queued",
      });
      expect(await described.staticSummary()).to.equal("spotify file import, attempt 1");

      // Listing is eventually consistent.
      let found: string[] = [];
      for (let i = 0; i < 50 && found.length === 0; i += 1) {
        await sleep(100);
        const list = client.workflow.list({ query: `PlaylogUserId = "${job.userId}"` });
        found = [];
        for await (const each of list) found.push(each.workflowId);
      }
      expect(found).to.deep.equal([importWorkflowId(job.importId, 1)]);
    } finally {
      await connection.close();
      await queue.close();
    }
  });

  it("has the same of an undo, as a kind of its own", async () => {
    const { temporalAddress } = testStack();
    const queue = new TemporalImportQueue(optionsFor(`ui-${randomUUID()}`, temporalAddress));
    const connection = await Connection.connect({ address: temporalAddress });
    try {
      const undo = {
        kind: "undo",
        importId: randomUUID(),
        userId: randomUUID(),
        provider: "spotify",
      } as const;
      await queue.enqueue(undo);
      const handle = new Client({ connection }).workflow.getHandle(undoWorkflowId(undo.importId));
      const described = await handle.describe();
      expect(described.searchAttributes).to.deep.include({
        PlaylogUserId: [undo.userId],
        PlaylogProvider: ["spotify"],
        PlaylogJobKind: ["undo"],
        PlaylogPhase: ["queued"],
      });
      expect(await described.staticSummary()).to.equal("undo of a spotify import");
    } finally {
      await connection.close();
      await queue.close();
    }
  });
});
