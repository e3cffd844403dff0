/** Entry point of the worker: settings, connections, activities, reconciler; and the way back in the opposite order. */
import { setTimeout as sleep } from "node:timers/promises";
import { DefaultLogger, Runtime } from "@temporalio/worker";
import type { LogLevel } from "@temporalio/worker";
import { ConfigError, loadConfig } from "../config.js";
import type { Config } from "../config.js";
import { createDatabase } from "../db/knex.js";
import { migrationStatus } from "../db/migrate.js";
import { TemporalImportQueue } from "../services/import/queues/TemporalImportQueue.js";
import { deleteOrphanedUploads } from "../services/import/orphanedUploads.js";
import { NO_OBSERVER } from "../services/import/observer.js";
import { reconcile } from "../services/import/reconciler.js";
import type { StepsDependencies } from "../services/import/stepContext.js";
import { createImportSteps } from "../services/import/steps.js";
import { FileBlobStore } from "../services/storage/FileBlobStore.js";
import { createLogger } from "../utils/logger.js";
import type { Logger } from "../utils/logger.js";
import { createImportActivities } from "./import.js";
import { ACTIVITY_SLOTS, connectWithPatience, createImportWorker } from "./importWorker.js";
import { registerSearchAttributes } from "./searchAttributes.js";

const CONNECT_PATIENCE_MS = 5 * 60 * 1000;
/** A batch is a second's work; a statement that takes this long is stuck. */
const STATEMENT_TIMEOUT_MS = 60_000;
const ORPHANS_INTERVAL_MS = 60 * 60 * 1000;
/** Time kept back from the grace period for closing connections. */
const CLOSING_MS = 1000;

async function run(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  Runtime.install({
    // The process stops as a whole, in the order below; the SDK would only drain the worker.
    shutdownSignals: [],
    logger: new DefaultLogger("WARN", ({ level, message, meta }) =>
      log[LEVELS[level]](message, { sdk: meta }),
    ),
  });
  const database = createDatabase(config.database, {
    applicationName: "playlog-worker",
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    poolMax: Math.max(config.database.poolMax, 2 * ACTIVITY_SLOTS + 2),
  });
  const blobs = new FileBlobStore(config.spoolDir);
  const queue = new TemporalImportQueue({
    ...config.temporal,
    parallelParts: config.imports.parallelParts,
    heartbeatTimeoutMs: config.imports.heartbeatTimeoutMs,
    log,
  });
  try {
    const { pending } = await migrationStatus(config.database.url);
    if (pending.length > 0) throw new Error(`The database lacks ${pending.length} migration(s)`);
    const { pool } = database;
    const steps = createImportSteps({
      pool,
      blobs,
      limits: config.imports,
      blobKeepDays: config.imports.blobKeepDays,
      observer: NO_OBSERVER,
      ...crashPoint(process.env["PLAYLOG_KILL_AT"]),
    });
    const connection = await connectWithPatience(config.temporal.address, CONNECT_PATIENCE_MS, signal, log);
    try {
      await registerSearchAttributes(connection, config.temporal.namespace, log);
      const worker = await createImportWorker({
        connection,
        ...config.temporal,
        activities: createImportActivities({ steps, log }),
        heartbeatTimeoutMs: config.imports.heartbeatTimeoutMs,
        stopMs: Math.max(0, config.shutdownGraceMs - CLOSING_MS),
        workflowBundle: process.env["PLAYLOG_WORKFLOW_BUNDLE"],
      });
      signal.throwIfAborted();
      signal.addEventListener("abort", () => worker.shutdown());
      const deps = {
        pool,
        queue,
        blobs,
        log,
        blobKeepDays: config.imports.blobKeepDays,
        sweepSpool: (olderThanMs: number) => blobs.sweep(olderThanMs),
      };
      const reconciling = new AbortController();
      const every = (intervalMs: number, name: string, pass: () => Promise<unknown>): Promise<void> =>
        repeat(name, pass, intervalMs, reconciling.signal, log);
      const upkeep = [
        every(config.imports.reconcileIntervalMs, "reconciling", () => reconcile(deps)),
        every(ORPHANS_INTERVAL_MS, "deleting orphaned uploads", () => deleteOrphanedUploads(deps)),
      ];
      const working = worker.run();
      process.send?.("ready");
      log.info("worker ready", { taskQueue: config.temporal.taskQueue });
      try {
        await working;
      } finally {
        reconciling.abort();
        await Promise.all(upkeep);
      }
    } finally {
      await connection.close();
    }
  } finally {
    await Promise.all([queue.close(), database.close()]);
  }
}

const LEVELS: Readonly<Record<LogLevel, "debug" | "info" | "warn" | "error">> = {
  TRACE: "debug",
  DEBUG: "debug",
  INFO: "info",
  WARN: "warn",
  ERROR: "error",
};

/** Once now, then again `intervalMs` after the end of each pass. A pass that fails is logged, and the next one tried. */
async function repeat(
  name: string,
  pass: () => Promise<unknown>,
  intervalMs: number,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await pass();
    } catch (error) {
      log.warn(`${name} failed`, { error });
    }
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * For tests of crashes: `PLAYLOG_KILL_AT=0:3:before-commit` kills this process as batch 3 of part 0 is about to be
 * committed. Nothing in the services knows of it.
 */
function crashPoint(place: string | undefined): Pick<StepsDependencies, "onCommit"> {
  if (place === undefined || place === "") return {};
  return {
    onCommit: (batch, moment) => {
      if (`${batch.partNo}:${batch.batchNo}:${moment}` === place) process.kill(process.pid, "SIGKILL");
    },
  };
}

function readConfig(): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

const config = readConfig();
const log = createLogger(config.log, { service: "worker" });
const stopping = new AbortController();

function stop(reason: string): void {
  if (stopping.signal.aborted) return;
  log.info("worker stopping", { reason });
  // Whatever hangs, the process is gone when its supervisor expects it to be.
  setTimeout(() => process.exit(1), config.shutdownGraceMs + CLOSING_MS).unref();
  stopping.abort(new Error(reason));
}

process.on("SIGTERM", () => stop("SIGTERM"));
process.on("SIGINT", () => stop("SIGINT"));
// Under a supervisor: it is gone, and nobody would stop this process any more.
if (process.send !== undefined) process.on("disconnect", () => stop("supervisor gone"));
process.on("unhandledRejection", (error) => {
  log.error("unhandled rejection", { error });
  process.exitCode = 1;
  stop("unhandled rejection");
});

try {
  await run(config, log, stopping.signal);
  log.info("worker stopped");
} catch (error) {
  // Asked to stop while it was starting: that is no failure.
  if (!stopping.signal.aborted) {
    log.error("worker failed", { error });
    process.exitCode = 1;
  }
}
process.exit();
