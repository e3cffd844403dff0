/** Runs workflows on the real server with activities that follow a script. Only their answers matter to a workflow. */
import { randomUUID } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { Context } from "@temporalio/activity";
import { Client, Connection } from "@temporalio/client";
import type { WorkflowHandle, WorkflowHandleWithFirstExecutionRunId } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { NativeConnection, Worker } from "@temporalio/worker";
import { registerSearchAttributes } from "../../activities/searchAttributes.js";
import {
  DUE_LANE,
  eraseWorkflowId,
  importWorkflowId,
  STATE_QUERY,
  syncScheduleId,
  syncTaskQueue,
  undoWorkflowId,
  WORKFLOW_TYPES,
} from "../../workflows/contracts.js";
import type {
  EraseActivities,
  FinishInput,
  ImportActivities,
  ImportHistoryInput,
  ImportState,
  PartResult,
  SyncActivities,
  SyncStepResult,
  UndoResult,
} from "../../workflows/contracts.js";
import { quietLog } from "../services/import/importing.js";
import { testStack } from "../support/stack.js";
import { quietRuntime } from "./quietRuntime.js";

export const HISTORIES = path.join(import.meta.dirname, "histories");
/** Where the syncs of these tests ask their provider. */
export const SYNC_LANE = "spotify";
/** So long a workflow waits for a worker that was ended, before another gets it. */
const STICKY_MS = 1000;
/** A longer history is kept compressed. */
const READABLE_CHARS = 500_000;

/** What the activities of a run do, and what they saw. */
export interface Script {
  readonly parts: number;
  readonly importPart?: (partNo: number) => Promise<PartResult>;
  readonly prepareFails?: ApplicationFailure;
  readonly linkFails?: ApplicationFailure;
  readonly undo?: () => Promise<UndoResult>;
  /** What each step of a sync comes to; afterwards it is done. */
  readonly sync?: (n: number) => Promise<SyncStepResult>;
  /** Happens after the row was looked at and before the run hears what was seen. */
  readonly whileParking?: () => Promise<void>;
  /** The job's row, as far as a workflow can tell. */
  readonly row: { paused: boolean; closed?: boolean };
  readonly seen: {
    readonly begun: number[];
    readonly settled: Set<number>;
    readonly failed: { partNo: number; code: string }[];
    readonly finished: FinishInput[];
    mostAtOnce: number;
    prepared: number;
    parked: number;
    unparked: number;
    undone: number;
    linked: number;
    synced: number;
  };
}

export const done = (): Promise<PartResult> => Promise.resolve({ status: "done", read: 10, inserted: 7 });

export const script = (parts: number, over: Partial<Omit<Script, "seen" | "parts">> = {}): Script => ({
  parts,
  row: { paused: false },
  ...over,
  seen: {
    begun: [],
    settled: new Set(),
    failed: [],
    finished: [],
    mostAtOnce: 0,
    prepared: 0,
    parked: 0,
    unparked: 0,
    undone: 0,
    linked: 0,
    synced: 0,
  },
});

/** What the activities of an erase answer, one after the other, and which were called. */
export interface EraseScript {
  /** Imports that are not at rest; afterwards none. */
  readonly underWay: number[];
  /** Whether an erase came to its end; afterwards it does. */
  readonly finished: boolean[];
  /** How an erase fails before it succeeds. */
  readonly failures: ApplicationFailure[];
  readonly seen: ("stop" | "erase")[];
}

export const eraseScript = (over: Partial<Omit<EraseScript, "seen">> = {}): EraseScript => ({
  underWay: [],
  finished: [],
  failures: [],
  ...over,
  seen: [],
});

export async function untilCancelled(): Promise<never> {
  const context = Context.current();
  for (;;) {
    context.heartbeat();
    await context.sleep(50);
  }
}

/** Waits for what a test is about to rely on; fails after 20 s. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`Not so after 20 s: ${what}`);
    await sleep(20);
  }
}

export const stateOf = (handle: WorkflowHandle): Promise<ImportState> =>
  handle.query<ImportState>(STATE_QUERY);

export interface WorkflowBench {
  readonly client: Client;
  start(run: Script, over?: Partial<ImportHistoryInput>): Promise<WorkflowHandleWithFirstExecutionRunId>;
  startUndo(run: Script): Promise<WorkflowHandleWithFirstExecutionRunId>;
  startErase(run: EraseScript): Promise<WorkflowHandleWithFirstExecutionRunId>;
  /** What a schedule starts when it is due. */
  startDue(): Promise<WorkflowHandleWithFirstExecutionRunId>;
  /** `PLAYLOG_RECORD=1 npx mocha test/workflows` writes the histories that replay.test.ts holds the code to. */
  record(name: string, handle: WorkflowHandle): Promise<void>;
  /** Ends the worker and starts another, which knows nothing of what runs. */
  restartWorker(): Promise<void>;
  close(): Promise<void>;
}

export async function createWorkflowBench(): Promise<WorkflowBench> {
  quietRuntime();
  const { temporalAddress, workflowBundle } = testStack();
  const native = await NativeConnection.connect({ address: temporalAddress });
  await registerSearchAttributes(native, "default", quietLog);
  const connection = await Connection.connect({ address: temporalAddress });
  const client = new Client({ connection });
  const taskQueue = `workflow-${randomUUID()}`;
  const scripts = new Map<string, Script>();
  const erases = new Map<string, EraseScript>();
  const startWorker = async () => {
    const shared = { connection: native, maxHeartbeatThrottleInterval: 50 };
    const imports = scriptedActivities(scripts);
    const syncs = scriptedSyncs(scripts);
    const syncStep: SyncActivities["syncStep"] = (run) => syncs.syncStep(run);
    const openSync: SyncActivities["openSync"] = (due) => syncs.openSync(due);
    const linkPlays: ImportActivities["linkPlays"] = (run) => imports.linkPlays(run);
    const finish: ImportActivities["finish"] = (ended) => imports.finish(ended);
    const workers = await Promise.all([
      Worker.create({
        ...shared,
        taskQueue,
        activities: { ...imports, ...scriptedErases(erases) },
        workflowBundle: { codePath: workflowBundle },
        stickyQueueScheduleToStartTimeout: STICKY_MS,
      }),
      Worker.create({
        ...shared,
        taskQueue: syncTaskQueue(taskQueue, SYNC_LANE),
        activities: { syncStep },
      }),
      Worker.create({
        ...shared,
        taskQueue: syncTaskQueue(taskQueue, DUE_LANE),
        activities: { openSync, linkPlays, finish },
      }),
    ]);
    return { workers, running: Promise.all(workers.map((worker) => worker.run())) };
  };
  let { workers, running } = await startWorker();
  const stopWorker = async (): Promise<void> => {
    for (const worker of workers) worker.shutdown();
    await running;
  };
  return {
    client,
    start(run, over = {}) {
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
    },
    startUndo(run) {
      const importId = randomUUID();
      scripts.set(importId, run);
      return client.workflow.start(WORKFLOW_TYPES.undoImport, {
        workflowId: undoWorkflowId(importId),
        taskQueue,
        args: [{ importId, heartbeatTimeoutMs: 5000, searchAttributes: true }],
      });
    },
    startErase(run) {
      const userId = randomUUID();
      erases.set(userId, run);
      return client.workflow.start(WORKFLOW_TYPES.eraseAccount, {
        workflowId: eraseWorkflowId(userId),
        taskQueue,
        args: [{ userId, heartbeatTimeoutMs: 5000, searchAttributes: true }],
      });
    },
    startDue() {
      const [connectionId, userId] = [randomUUID(), randomUUID()];
      return client.workflow.start(WORKFLOW_TYPES.syncConnection, {
        workflowId: syncScheduleId(connectionId),
        taskQueue,
        args: [{ connectionId, userId, heartbeatTimeoutMs: 5000 }],
      });
    },
    async record(name, handle) {
      if (process.env["PLAYLOG_RECORD"] !== "1") return;
      await mkdir(HISTORIES, { recursive: true });
      // Of the machine it was recorded on, nothing. Names with an @ are those of a worker's own queue.
      const impersonal = (key: string, value: unknown): unknown => {
        if (key === "stackTrace") return "";
        const worker = key === "identity" || (key === "name" && String(value).includes("@"));
        return worker ? "recorder" : value;
      };
      const history: unknown = JSON.parse(historyToJSON(await handle.fetchHistory()), impersonal);
      const text = `${JSON.stringify(history, null, 1)}\n`;
      if (text.length > READABLE_CHARS)
        await writeFile(path.join(HISTORIES, `${name}.json.gz`), gzipSync(text, { level: 9 }));
      else await writeFile(path.join(HISTORIES, `${name}.json`), text);
    },
    async restartWorker() {
      await stopWorker();
      ({ workers, running } = await startWorker());
    },
    async close() {
      await stopWorker();
      await connection.close();
      await native.close();
    },
  };
}

function scriptedErases(scripts: ReadonlyMap<string, EraseScript>): EraseActivities {
  return {
    stopImports({ userId }) {
      const { underWay, seen } = scripts.get(userId)!;
      seen.push("stop");
      return Promise.resolve({ underWay: underWay.shift() ?? 0 });
    },
    eraseAccount({ userId }) {
      const { finished, failures, seen } = scripts.get(userId)!;
      seen.push("erase");
      const failure = failures.shift();
      if (failure !== undefined) return Promise.reject(failure);
      return Promise.resolve({ plays: 30, imports: 2, finished: finished.shift() ?? true });
    },
  };
}

function scriptedSyncs(scripts: ReadonlyMap<string, Script>): SyncActivities {
  return {
    syncStep({ importId }) {
      const { sync, seen } = scripts.get(importId)!;
      seen.synced += 1;
      return sync?.(seen.synced) ?? Promise.resolve({ status: "done", read: 0, inserted: 0 });
    },
    openSync: () => Promise.resolve({ outcome: "opened", importId: randomUUID(), refused: null }),
  };
}

function scriptedActivities(scripts: ReadonlyMap<string, Script>): ImportActivities {
  const of = ({ importId }: { importId: string }): Script => scripts.get(importId)!;
  const working = new Map<string, number>();
  return {
    prepare(ref) {
      const { parts, prepareFails, row, seen } = of(ref);
      seen.prepared += 1;
      if (prepareFails !== undefined) return Promise.reject(prepareFails);
      if (row.paused) return Promise.resolve({ paused: true, partsTotal: 0, partsOpen: 0, provider: "" });
      return Promise.resolve({ partsTotal: parts, partsOpen: parts, provider: "spotify" });
    },
    openParts({ afterPart, limit, ...ref }) {
      const { parts, seen } = of(ref);
      const all = Array.from({ length: parts }, (_, partNo) => partNo);
      const open = all.filter((partNo) => partNo > afterPart && !seen.settled.has(partNo));
      return Promise.resolve(open.slice(0, limit));
    },
    async importPart({ partNo, importId }) {
      const { importPart = done, seen } = of({ importId });
      const count = (working.get(importId) ?? 0) + 1;
      working.set(importId, count);
      seen.mostAtOnce = Math.max(seen.mostAtOnce, count);
      seen.begun.push(partNo);
      try {
        const result = await importPart(partNo);
        if (["done", "skipped", "failed"].includes(result.status)) seen.settled.add(partNo);
        return result;
      } finally {
        working.set(importId, (working.get(importId) ?? 1) - 1);
      }
    },
    failPart({ partNo, code, ...ref }) {
      const { seen } = of(ref);
      seen.failed.push({ partNo, code });
      seen.settled.add(partNo);
      return Promise.resolve({ status: "failed", read: 0, inserted: 0 });
    },
    async park(ref) {
      const { row, seen, whileParking } = of(ref);
      seen.parked += 1;
      const parked = row.paused;
      await whileParking?.();
      return { parked };
    },
    unpark(ref) {
      const { row, seen } = of(ref);
      seen.unparked += 1;
      if (row.closed === true) return Promise.reject(ApplicationFailure.nonRetryable("closed", "job_closed"));
      return Promise.resolve({ resumed: !row.paused });
    },
    linkPlays(ref) {
      const { linkFails, seen } = of(ref);
      seen.linked += 1;
      return linkFails === undefined ? Promise.resolve({ linked: 5 }) : Promise.reject(linkFails);
    },
    undoImport(ref) {
      const { undo, seen } = of(ref);
      seen.undone += 1;
      return undo?.() ?? Promise.resolve({ removed: 12, handedOver: 3 });
    },
    finish(input) {
      const { row, seen } = of(input);
      seen.finished.push(input);
      const waits = row.paused && input.outcome === "completed";
      return Promise.resolve({ status: waits ? "paused" : input.outcome });
    },
  };
}
