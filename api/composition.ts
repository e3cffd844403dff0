/** Which service gets what. Connections come from outside: api/server.ts opens real ones, tests theirs. */
import type { Config } from "../config.js";
import type { Database } from "../db/knex.js";
import type { DatabaseListener } from "../db/listener.js";
import { primaryReads, ReplicaReads } from "../db/replica.js";
import { ApiTokenStore } from "../services/auth/ApiTokenStore.js";
import { AuthService } from "../services/auth/AuthService.js";
import { PasswordHasher } from "../services/auth/passwords.js";
import { RevocationWatch } from "../services/auth/RevocationWatch.js";
import { SessionStore } from "../services/auth/SessionStore.js";
import type { SigningKeys } from "../services/auth/signingKeys.js";
import { CacheVersions } from "../services/cache/CacheVersions.js";
import { PageCache } from "../services/cache/PageCache.js";
import type { RedisService } from "../services/cache/RedisService.js";
import { Budget } from "../services/connections/budget.js";
import { ConnectionService } from "../services/connections/ConnectionService.js";
import { identifiersOf } from "../services/connections/providers/index.js";
import type { ConnectionSecrets } from "../services/connections/secrets.js";
import { HistoryEditor } from "../services/history/HistoryEditor.js";
import { CatalogueService } from "../services/catalog/CatalogueService.js";
import { HistoryService } from "../services/history/HistoryService.js";
import type { ImportQueue } from "../services/import/ImportQueue.js";
import { ImportService } from "../services/import/ImportService.js";
import { Limiter } from "../services/limits/Limiter.js";
import { SearchService } from "../services/search/SearchService.js";
import { StatsService } from "../services/stats/StatsService.js";
import type { BlobStore } from "../services/storage/BlobStore.js";
import { ExportService } from "../services/users/export/ExportService.js";
import { UserService } from "../services/users/UserService.js";
import { TrustedProxies } from "../utils/clientAddress.js";
import type { Logger } from "../utils/logger.js";
import { ApiMetrics } from "./metrics/ApiMetrics.js";
import { addDependencyMetrics } from "./metrics/dependencies.js";
import { observePages } from "./metrics/observePages.js";
import { observeReplica } from "./metrics/observeReplica.js";
import { observeUploads } from "./metrics/observeUploads.js";
import { RequestLimits } from "./middleware/rateLimit.js";
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
  readonly secrets: ConnectionSecrets;
  readonly log: Logger;
}

export function composeServices(connections: Connections): AppDeps {
  const { config, database, redis, listener, queue, keys, log } = connections;
  const metrics = new ApiMetrics();
  addDependencyMetrics(metrics, { database, redis });
  const blobs = observeUploads(connections.blobs, metrics);
  const { pool: primary, replica } = database;
  const reads =
    replica === undefined
      ? primaryReads(primary)
      : new ReplicaReads({ primary, replica, listener, log, observe: observeReplica(metrics, replica) });
  const versions = new CacheVersions({
    listener,
    pool: primary,
    sawPrimary: (scopes) => reads.sawPrimary(scopes),
  });
  const auth = new AuthService({
    database,
    sessions: new SessionStore({ database, redis, watch: new RevocationWatch(listener), versions }),
    tokens: new ApiTokenStore({ database, versions }),
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
    reads,
    redis,
    pages: new PageCache({ redis, versions, observe: observePages(metrics) }),
    queue,
    blobs,
    metrics,
    log,
    auth,
    limits: requestLimits(connections, metrics),
    users: new UserService({ database, queue, log }),
    exports: new ExportService({ pool: database.pool }),
    history: new HistoryService({ pool: database.pool, reads }),
    historyEditor: new HistoryEditor({ pool: database.pool }),
    catalogue: new CatalogueService({ pool: database.pool, reads }),
    stats: new StatsService({ pool: database.pool, reads }),
    search: new SearchService({ reads, parallel: searchesAtOnce(config.database.poolMax) }),
    imports,
    connections: connectionService(connections),
  };
}

/** The other connections are for what is quick. */
const searchesAtOnce = (connections: number): number => Math.max(1, Math.floor(connections / 2));

function connectionService({ config, database, redis, queue, secrets, log }: Connections): ConnectionService {
  const { providers: settings, http, imports } = config;
  const { fetch } = secrets;
  return new ConnectionService({
    ...secrets,
    pool: database.pool,
    queue,
    log,
    settings,
    publicUrl: http.publicUrl,
    batchRows: imports.batchRows,
    identifiers: identifiersOf(settings, { fetch, budget: new Budget(redis) }),
  });
}

function requestLimits({ config, redis, log }: Connections, metrics: ApiMetrics): RequestLimits | null {
  const { enabled, rates, trustedProxies } = config.limits;
  if (!enabled) return null;
  return new RequestLimits({
    limiter: new Limiter(redis),
    rates,
    proxies: new TrustedProxies(trustedProxies),
    log,
    refused: (limit) => metrics.rateLimited(limit),
  });
}
