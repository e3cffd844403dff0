/** Which service gets what. Connections come from outside: api/server.ts opens real ones, tests theirs. */
import type { Config } from "../config.js";
import type { Database } from "../db/knex.js";
import type { DatabaseListener } from "../db/listener.js";
import { AuthService } from "../services/auth/AuthService.js";
import { PasswordHasher } from "../services/auth/passwords.js";
import { RevocationWatch } from "../services/auth/RevocationWatch.js";
import { SessionStore } from "../services/auth/SessionStore.js";
import type { SigningKeys } from "../services/auth/signingKeys.js";
import { CacheVersions } from "../services/cache/CacheVersions.js";
import { PageCache } from "../services/cache/PageCache.js";
import type { RedisService } from "../services/cache/RedisService.js";
import { HistoryService } from "../services/history/HistoryService.js";
import type { ImportQueue } from "../services/import/ImportQueue.js";
import { ImportService } from "../services/import/ImportService.js";
import type { BlobStore } from "../services/storage/BlobStore.js";
import { UserService } from "../services/users/UserService.js";
import type { Logger } from "../utils/logger.js";
import { ApiMetrics } from "./metrics/ApiMetrics.js";
import { addDependencyMetrics } from "./metrics/dependencies.js";
import { observePages } from "./metrics/observePages.js";
import { observeUploads } from "./metrics/observeUploads.js";
import type { AppDeps } from "./types.js";

export interface Connections {
  readonly config: Config;
  readonly database: Database;
  readonly redis: RedisService;
  /** The caller starts it afterwards, and closes it; until it runs, the database is asked about sessions and versions. */
  readonly listener: DatabaseListener;
  readonly queue: ImportQueue;
  readonly blobs: BlobStore;
  readonly keys: SigningKeys;
  readonly log: Logger;
}

export function composeServices(connections: Connections): AppDeps {
  const { config, database, redis, listener, queue, keys, log } = connections;
  const metrics = new ApiMetrics();
  addDependencyMetrics(metrics, { database, redis });
  const blobs = observeUploads(connections.blobs, metrics);
  const versions = new CacheVersions({ listener, pool: database.pool });
  const auth = new AuthService({
    database,
    sessions: new SessionStore({ database, redis, watch: new RevocationWatch(listener), versions }),
    passwords: new PasswordHasher({ cost: config.auth.bcryptCost }),
    keys,
    registration: config.auth.registration,
    log,
  });
  const imports = new ImportService({
    pool: database.pool,
    queue,
    blobs,
    log,
    batchRows: config.imports.batchRows,
    blobKeepDays: config.imports.blobKeepDays,
  });
  return {
    config,
    database,
    redis,
    pages: new PageCache({ redis, versions, observe: observePages(metrics) }),
    queue,
    blobs,
    metrics,
    log,
    auth,
    users: new UserService({ database }),
    history: new HistoryService({ pool: database.pool }),
    imports,
  };
}
