/** Entry point of the api: settings, connections, app, port; and the way back in the opposite order. */
import path from "node:path";
import { ConfigError, loadConfig } from "../config.js";
import type { Config } from "../config.js";
import { createDatabase } from "../db/knex.js";
import { migrationStatus } from "../db/migrate.js";
import { RevocationWatch } from "../services/auth/RevocationWatch.js";
import { loadSigningKeys } from "../services/auth/signingKeys.js";
import { RedisService } from "../services/cache/RedisService.js";
import { TemporalImportQueue } from "../services/import/queues/TemporalImportQueue.js";
import { FileBlobStore } from "../services/storage/FileBlobStore.js";
import { createLogger, type Logger } from "../utils/logger.js";
import { buildApp } from "./app.js";
import { composeServices } from "./composition.js";
import { serve } from "./httpServer.js";

/** Time kept back from the grace period for closing connections after the last answer. */
const CLOSING_MS = 1000;

/** Thrown when there is nothing to debug, only something to do: its message is all that is printed. */
class StartupError extends Error {}

async function start(config: Config, log: Logger): Promise<() => Promise<boolean>> {
  await refusePendingMigrations(config);
  const database = createDatabase(config.database, { applicationName: "playlog-api" });
  const redis = new RedisService({ url: config.redis.url, log });
  const watch = new RevocationWatch({ databaseUrl: config.database.url, log });
  const queue = new TemporalImportQueue({
    ...config.temporal,
    parallelParts: config.imports.parallelParts,
    heartbeatTimeoutMs: config.imports.heartbeatTimeoutMs,
    log,
  });
  const keys = await loadSigningKeys(config.home, config.auth.jwtSecret);
  const blobs = new FileBlobStore(config.spoolDir);
  await Promise.all([redis.connect(), watch.start()]);
  const deps = composeServices({ config, database, redis, watch, queue, blobs, keys, log });
  const server = await serve(buildApp(deps), config.http.host, config.http.port);
  log.info("api ready", { url: server.url, docs: `${config.http.publicUrl}/docs` });

  return async () => {
    const finished = await server.close(Math.max(0, config.shutdownGraceMs - CLOSING_MS));
    redis.close();
    await Promise.all([watch.close(), queue.close(), database.close()]);
    return finished;
  };
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
const log = createLogger(config.log, { service: "api" });
const starting = start(config, log);

let stopping = false;
function stop(reason: string, exitCode = 0): void {
  if (stopping) return;
  stopping = true;
  log.info("api stopping", { reason });
  // Whatever hangs, the process is gone when its supervisor expects it to be.
  setTimeout(() => process.exit(exitCode === 0 ? 1 : exitCode), config.shutdownGraceMs + CLOSING_MS).unref();
  starting
    .then((close) => close())
    .then((finished) => {
      log.info("api stopped", { finished });
      process.exit(exitCode);
    })
    .catch((error: unknown) => {
      log.error("api could not stop cleanly", { error });
      process.exit(1);
    });
}

process.on("SIGTERM", () => stop("SIGTERM"));
process.on("SIGINT", () => stop("SIGINT"));
// Under a supervisor: it is gone, and nobody would stop this process any more.
if (process.send !== undefined) process.on("disconnect", () => stop("supervisor gone"));
process.on("uncaughtException", (error) => {
  log.error("uncaught exception", { error });
  stop("uncaught exception", 1);
});
process.on("unhandledRejection", (error) => {
  log.error("unhandled rejection", { error });
  stop("unhandled rejection", 1);
});

try {
  await starting;
  process.send?.("ready");
} catch (error) {
  if (error instanceof StartupError) console.error(error.message);
  else log.error("api could not start", { error });
  process.exit(1);
}
