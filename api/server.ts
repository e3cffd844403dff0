/** Entry point of the api: settings, connections, app, port; and the way back in the opposite order. */
import path from "node:path";
import type { Registry } from "prom-client";
import { ConfigError, loadConfig } from "../config.js";
import type { Config } from "../config.js";
import { createDatabase } from "../db/knex.js";
import { DatabaseListener } from "../db/listener.js";
import { migrationStatus } from "../db/migrate.js";
import { logStatements } from "../db/sqlLog.js";
import { loadSigningKeys } from "../services/auth/signingKeys.js";
import { loadConnectionSecrets } from "../services/connections/secrets.js";
import { assertKeysComplete } from "../services/connections/tokenKeys.js";
import { RedisService } from "../services/cache/RedisService.js";
import { runIsOver } from "../services/import/jobs.js";
import { openImportQueue } from "../services/import/queues/index.js";
import { FileBlobStore } from "../services/storage/FileBlobStore.js";
import { onEndOfProcess, settingsOrExit, StartupError } from "../utils/entryPoint.js";
import { createLogger, type Logger } from "../utils/logger.js";
import { addProcessMetrics } from "../utils/metrics.js";
import { OpsPortError, serveOps, type OpsServer } from "../utils/opsServer.js";
import { buildApp } from "./app.js";
import { composeServices } from "./composition.js";
import { serve } from "./httpServer.js";

/** Time kept back from the grace period for closing connections after the last answer. */
const CLOSING_MS = 1000;

async function start(config: Config, log: Logger): Promise<() => Promise<boolean>> {
  await refusePendingMigrations(config);
  const database = createDatabase(config.database, { applicationName: "playlog-api" });
  logStatements(database, config.sqlLog, log);
  const redis = new RedisService({ url: config.redis.url, log });
  const listener = new DatabaseListener({ databaseUrl: config.database.url, log });
  const queue = await openImportQueue(config, { log, isOver: (ref) => runIsOver(database.pool, ref) });
  const { jwtSecret, jwtPreviousSecrets } = config.auth;
  const keys = await loadSigningKeys(config.home, jwtSecret, jwtPreviousSecrets);
  const secrets = await loadConnectionSecrets(config);
  await assertKeysComplete(database.pool, secrets.keys);
  const blobs = new FileBlobStore(config.spoolDir);
  if (!config.limits.enabled) log.warn("RATE_LIMIT=off: nobody is limited in how often they ask");
  const deps = composeServices({ config, database, redis, listener, queue, blobs, keys, secrets, log });
  await Promise.all([redis.connect(), listener.start()]);
  const ops = await serveMetrics(config, deps.metrics.registry);
  const server = await serve(buildApp(deps), config.http.host, config.http.port);
  log.info("api ready", {
    url: server.url,
    docs: `${config.http.publicUrl}/docs`,
    metrics: ops === undefined ? null : `${ops.url}/metrics`,
    temporalUi: config.temporal.uiUrl ?? null,
  });

  return async () => {
    const finished = await server.close(Math.max(0, config.shutdownGraceMs - CLOSING_MS));
    redis.close();
    await Promise.all([listener.close(), queue.close(), database.close()]);
    await ops?.close(); // last: the end of the process is worth watching too
    return finished;
  };
}

/** Undefined without OPS_PORT. */
async function serveMetrics(config: Config, registry: Registry): Promise<OpsServer | undefined> {
  const { host, apiPort: port } = config.ops;
  if (port === undefined) return undefined;
  addProcessMetrics(registry);
  return serveOps({ host, port, setting: "OPS_PORT" }, { metrics: () => registry.metrics() });
}

/** Running on an older schema would fail later, and less clearly. */
async function refusePendingMigrations(config: Config): Promise<void> {
  const { pending } = await migrationStatus(config.database.url);
  if (pending.length === 0) return;
  const names = pending.map((name) => `  - ${path.parse(name).name}`).join("\n");
  throw new StartupError(
    `The database lacks ${pending.length} migration(s); run db/migrate first:\n${names}`,
  );
}

const config = settingsOrExit(
  () => loadConfig(process.env),
  (error) => error instanceof ConfigError,
);
const log = createLogger(config.log, { service: "api" });
const starting = start(config, log);

let stopping = false;
function stop(reason: string, failed: boolean): void {
  if (stopping) return;
  stopping = true;
  log.info("api stopping", { reason });
  // Whatever hangs, the process is gone when its supervisor expects it to be.
  setTimeout(() => process.exit(1), config.shutdownGraceMs + CLOSING_MS).unref();
  starting
    .then((close) => close())
    .then((finished) => {
      log.info("api stopped", { finished });
      process.exit(failed ? 1 : 0);
    })
    .catch((error: unknown) => {
      log.error("api could not stop cleanly", { error });
      process.exit(1);
    });
}
onEndOfProcess(log, stop);

try {
  await starting;
  process.send?.("ready");
} catch (error) {
  if (error instanceof StartupError || error instanceof OpsPortError) console.error(error.message);
  else log.error("api could not start", { error });
  process.exit(1);
}
