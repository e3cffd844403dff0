/** The service, the queue and the worker's own process on a database of the test, as they run in earnest. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { ImportService } from "../../services/import/ImportService.js";
import type { ImportQueue } from "../../services/import/ImportQueue.js";
import { runIsOver } from "../../services/import/jobs.js";
import { BullImportQueue } from "../../services/import/queues/BullImportQueue.js";
import { TemporalImportQueue } from "../../services/import/queues/TemporalImportQueue.js";
import type { ImportJobView } from "../../services/import/views.js";
import { FileBlobStore } from "../../services/storage/FileBlobStore.js";
import type { TestDatabase } from "../support/database.js";
import { startEntry } from "../support/processes.js";
import type { RunningEntry } from "../support/processes.js";
import { testStack } from "../support/stack.js";
import { quietLog } from "../services/import/importing.js";

export interface RealWorker {
  readonly service: ImportService;
  readonly queue: ImportQueue;
  readonly blobs: FileBlobStore;
  readonly spoolDir: string;
  readonly taskQueue: string;
  /** One more worker process; stopped by `close` when the test does not. */
  start(env?: Readonly<Record<string, string>>, execArgv?: readonly string[]): Promise<RunningEntry>;
  accept(userId: string, upload: Buffer, filename?: string): Promise<ImportJobView>;
  /** The job once it has one of these statuses; fails after `timeoutMs`. */
  settled(
    userId: string,
    id: string,
    statuses?: readonly string[],
    timeoutMs?: number,
  ): Promise<ImportJobView>;
  close(): Promise<void>;
}

export const CLOSED = ["completed", "completed_with_errors", "failed", "cancelled"];

export interface RealWorkerOptions {
  readonly databaseUrl?: string;
  readonly temporalAddress?: string;
  /** BullMQ in this Redis in place of Temporal, of which nobody is told then. */
  readonly bullRedisUrl?: string;
  /** How long the minutes of schedules are that are made through `queue`. */
  readonly scheduleMinuteMs?: number;
  readonly batchRows?: number;
  readonly heartbeatTimeoutMs?: number;
}

export async function createRealWorker(
  db: TestDatabase,
  options: RealWorkerOptions = {},
): Promise<RealWorker> {
  const stack = testStack();
  const home = await mkdtemp(path.join(tmpdir(), "playlog-worker-"));
  const spoolDir = path.join(home, "spool");
  const blobs = new FileBlobStore(spoolDir);
  const taskQueue = `test-${randomUUID()}`;
  const temporalAddress = options.temporalAddress ?? stack.temporalAddress;
  const heartbeatTimeoutMs = options.heartbeatTimeoutMs ?? 2000;
  const { bullRedisUrl, scheduleMinuteMs } = options;
  const queue: ImportQueue =
    bullRedisUrl === undefined
      ? new TemporalImportQueue({
          address: temporalAddress,
          namespace: "default",
          taskQueue,
          parallelParts: 2,
          heartbeatTimeoutMs,
          scheduleMinuteMs,
          log: quietLog,
        })
      : await BullImportQueue.open({
          name: taskQueue,
          redisUrl: bullRedisUrl,
          isOver: (ref) => runIsOver(db.database.pool, ref),
          scheduleMinuteMs,
          log: quietLog,
        });
  const queueEnv: Readonly<Record<string, string>> =
    bullRedisUrl === undefined
      ? { TEMPORAL_ADDRESS: temporalAddress, TEMPORAL_TASK_QUEUE: taskQueue }
      : {
          IMPORT_QUEUE: "bullmq",
          BULL_QUEUE: taskQueue,
          BULL_REDIS_URL: bullRedisUrl,
          TEMPORAL_ADDRESS: "",
          PLAYLOG_WORKFLOW_BUNDLE: "",
        };
  const service = new ImportService({
    pool: db.database.pool,
    queue,
    blobs,
    log: quietLog,
    batchRows: options.batchRows ?? 100,
    blobKeepDays: 7,
  });
  const workers: RunningEntry[] = [];
  return {
    service,
    queue,
    blobs,
    spoolDir,
    taskQueue,
    async start(env = {}, execArgv = []) {
      const settings = {
        DATABASE_URL: options.databaseUrl ?? db.url,
        REDIS_URL: stack.redisUrl,
        PLAYLOG_HOME: home,
        PLAYLOG_WORKFLOW_BUNDLE: stack.workflowBundle,
        IMPORT_HEARTBEAT_TIMEOUT_MS: String(heartbeatTimeoutMs),
        RECONCILE_INTERVAL_MS: "500",
        LOG_LEVEL: "info",
        ...queueEnv,
        ...env,
      };
      const worker = await startEntry("activities/worker.ts", settings, execArgv);
      workers.push(worker);
      return worker;
    },
    async accept(userId, upload, filename = "upload.json") {
      const blob = await blobs.put(Readable.from([upload]), { maxBytes: 1024 ** 3 });
      const { job } = await service.accept({
        userId,
        kind: "file",
        filename,
        blob,
        dryRun: false,
        options: { source: null, from: null, until: null, includeIncognito: false },
      });
      return job;
    },
    async settled(userId, id, statuses = CLOSED, timeoutMs = 30_000) {
      const deadline = Date.now() + timeoutMs;
      for (;;) {
        const job = await service.find(userId, id).catch(() => undefined); // the database may be away
        if (job !== undefined && statuses.includes(job.status)) return job;
        if (Date.now() > deadline) {
          const outputs = workers.map((worker) => worker.output().slice(-2000)).join("\n---\n");
          throw new Error(
            `Import ${id} is ${job?.status} after ${timeoutMs} ms; the workers said:\n${outputs}`,
          );
        }
        await sleep(50);
      }
    },
    async close() {
      await Promise.all(workers.map((worker) => worker.stop("SIGKILL"))); // nobody waits for an orderly end
      await queue.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}
