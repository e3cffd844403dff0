/** Entry point of the worker: settings, connections, activities, reconciler; and the way back in the opposite order. */
import { setMaxListeners } from "node:events";
import { setPriority } from "node:os";
import { ConfigError, loadConfig } from "../config.js";
import type { Config } from "../config.js";
import { createDatabase } from "../db/knex.js";
import type { Database } from "../db/knex.js";
import { migrationStatus } from "../db/migrate.js";
import { addPoolMetrics } from "../db/poolMetrics.js";
import { logStatements } from "../db/sqlLog.js";
import { addSqlMetrics } from "../db/sqlMetrics.js";
import { runIsOver } from "../services/import/jobs.js";
import { openImportQueue } from "../services/import/queues/index.js";
import type { StepsDependencies } from "../services/import/stepContext.js";
import { forgetConnections } from "../services/connections/forgetting.js";
import { loadConnectionSecrets } from "../services/connections/secrets.js";
import { assertKeysComplete } from "../services/connections/tokenKeys.js";
import { createImportSteps } from "../services/import/steps.js";
import { FileBlobStore } from "../services/storage/FileBlobStore.js";
import { repeat } from "../services/upkeep.js";
import { AccountEraser } from "../services/users/AccountEraser.js";
import { onEndOfProcess, settingsOrExit, StartupError } from "../utils/entryPoint.js";
import { createLogger } from "../utils/logger.js";
import type { Logger } from "../utils/logger.js";
import { addProcessMetrics } from "../utils/metrics.js";
import { OpsPortError, serveOps } from "../utils/opsServer.js";
import type { OpsServer } from "../utils/opsServer.js";
import { addBacklogMetrics, BacklogReader } from "./backlog.js";
import { createEngine } from "./engine.js";
import type { Engine } from "./engine.js";
import { forgetCached } from "./forgetCached.js";
import { giveWay } from "./givingWay.js";
import { workerHealth } from "./health.js";
import type { WorkerHealth } from "./health.js";
import { WorkerMetrics } from "./metrics.js";
import { withLog } from "./observers.js";
import { CONNECTIONS } from "./slots.js";
import { addSpoolMetrics } from "./spoolMetrics.js";
import { createSyncWork } from "./syncWork.js";
import { upkeepTasks } from "./upkeep.js";

/** A batch is a second's work; a statement that takes this long is stuck. */
const STATEMENT_TIMEOUT_MS = 60_000;
/** Nobody waits for an answer of the worker: rather late than an import that has to begin its batch again. */
const CONNECT_TIMEOUT_MS = 10_000;
/** Whoever waits for a page goes before whoever waits for an import: on one machine they share its processors. */
const NICENESS = 10;
/** Time kept back from the grace period for closing connections. */
const CLOSING_MS = 1000;

async function run(config: Config, log: Logger, signal: AbortSignal): Promise<void> {
  const metrics = new WorkerMetrics();
  const engine = await createEngine({
    config,
    log,
    metrics,
    stopMs: Math.max(0, config.shutdownGraceMs - CLOSING_MS),
    workflowBundle: process.env["PLAYLOG_WORKFLOW_BUNDLE"],
  });
  const database = createDatabase(config.database, {
    applicationName: "playlog-worker",
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    connectTimeoutMs: Math.max(config.database.connectTimeoutMs, CONNECT_TIMEOUT_MS),
    poolMax: Math.max(config.database.poolMax, CONNECTIONS),
  });
  logStatements(database, config.sqlLog, log);
  const blobs = new FileBlobStore(config.spoolDir);
  const queue = await openImportQueue(config, { log, isOver: (ref) => runIsOver(database.pool, ref) });
  const backlog = new BacklogReader(config.database);
  const giving = giveWay(config.redis.url, log);
  const { pace } = giving;
  // Before anything can fail or wait: a worker that does not get on is what operators look for.
  const ops = await serveMetrics(config, {
    database,
    metrics,
    engine,
    backlog,
    health: () => workerHealth(config.queue.kind, () => engine.state(), queue, backlog),
  });
  try {
    const { pending } = await migrationStatus(config.database.url);
    if (pending.length > 0) throw new Error(`The database lacks ${pending.length} migration(s)`);
    const { pool } = database;
    const secrets = await loadConnectionSecrets(config);
    await assertKeysComplete(pool, secrets.keys);
    const observed = withLog(metrics, log);
    const crashes = crashPoint(process.env["PLAYLOG_KILL_AT"]);
    const steps = createImportSteps({
      pool,
      blobs,
      limits: config.imports,
      blobKeepDays: config.imports.blobKeepDays,
      observer: observed,
      ...(pace === undefined ? {} : { pace }),
      ...crashes,
    });
    const eraser = new AccountEraser({
      pool,
      queue,
      blobs,
      log,
      forgetCached: forgetCached(config.redis.url, log),
      forgetConnections: (userId, before) =>
        forgetConnections({ pool, queue, log, ...secrets }, userId, before),
    });
    const syncs = await createSyncWork({
      ...{ config, pool, queue, secrets, log, blobs },
      observer: observed,
      ...crashes,
    });
    const running = await engine.start({ steps, eraser, queue, syncs }, signal);
    try {
      const deps = {
        pool,
        queue,
        blobs,
        log,
        blobKeepDays: config.imports.blobKeepDays,
        observer: metrics,
        sweepSpool: (olderThanMs: number) => blobs.sweep(olderThanMs),
      };
      const reconciling = new AbortController();
      setMaxListeners(0, reconciling.signal); // one for each task
      const tasks = upkeepTasks({
        ...deps,
        reconcileIntervalMs: config.imports.reconcileIntervalMs,
        workerMetrics: metrics,
        ...(pace === undefined ? {} : { pace }),
      });
      const upkeep = tasks.map((task) => repeat(task, reconciling.signal, log));
      process.send?.("ready");
      log.info("worker ready", {
        queue: config.queue.kind,
        metrics: ops === undefined ? null : `${ops.url}/metrics`,
      });
      try {
        await running.ended;
      } finally {
        reconciling.abort();
        await Promise.all(upkeep);
      }
    } finally {
      await running.close();
      syncs.close();
    }
  } finally {
    giving.close();
    await Promise.all([queue.close(), database.close()]);
    await ops?.close(); // last: the end of the process is worth watching too
  }
}

/** Undefined without WORKER_OPS_PORT. */
async function serveMetrics(config: Config, sources: OpsSources): Promise<OpsServer | undefined> {
  const { host, workerPort: port } = config.ops;
  if (port === undefined) return undefined;
  const { database, metrics, engine, backlog, health } = sources;
  const { registry } = metrics;
  addProcessMetrics(registry);
  addPoolMetrics(registry, database);
  addSqlMetrics(registry, database);
  addBacklogMetrics(registry, backlog);
  addSpoolMetrics(registry, config.spoolDir);
  return serveOps(
    { host, port, setting: "WORKER_OPS_PORT" },
    {
      metrics: async () => {
        const [own, sdk] = await Promise.all([registry.metrics(), engine.metrics()]);
        return `${own}${sdk ?? ""}`;
      },
      health,
    },
  );
}

interface OpsSources {
  readonly database: Database;
  readonly metrics: WorkerMetrics;
  readonly engine: Engine;
  readonly backlog: BacklogReader;
  readonly health: () => Promise<WorkerHealth>;
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

const config = settingsOrExit(
  () => loadConfig(process.env),
  (error) => error instanceof ConfigError,
);
const log = createLogger(config.log, { service: "worker" });
const stopping = new AbortController();
setPriority(NICENESS);

onEndOfProcess(log, (reason, failed) => {
  if (failed) process.exitCode = 1;
  if (stopping.signal.aborted) return;
  log.info("worker stopping", { reason });
  // Whatever hangs, the process is gone when its supervisor expects it to be.
  setTimeout(() => process.exit(1), config.shutdownGraceMs + CLOSING_MS).unref();
  stopping.abort(new Error(reason));
});

try {
  await run(config, log, stopping.signal);
  log.info("worker stopped");
} catch (error) {
  // Asked to stop while it was starting: that is no failure.
  if (!stopping.signal.aborted) {
    if (error instanceof OpsPortError || error instanceof StartupError) console.error(error.message);
    else log.error("worker failed", { error });
    process.exitCode = 1;
  }
}
process.exit();
