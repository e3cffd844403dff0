/** What a worker needs to carry out syncs, from its settings: the providers, their budgets, and the way to users' tokens. */
import type { Pool } from "pg";
import type { Config } from "../config.js";
import type { ConnectionProvider } from "../db/models/enums.js";
import { RedisService } from "../services/cache/RedisService.js";
import { openAccess } from "../services/connections/access.js";
import { Budget } from "../services/connections/budget.js";
import { providersOf } from "../services/connections/providers/index.js";
import type { ConnectionSecrets } from "../services/connections/secrets.js";
import { openDueSync } from "../services/connections/syncing/openSync.js";
import { createSyncSteps } from "../services/connections/syncing/steps.js";
import type { SyncDependencies } from "../services/connections/syncing/steps.js";
import type { ImportQueue } from "../services/import/ImportQueue.js";
import type { Logger } from "../utils/logger.js";
import type { SyncWork } from "./engine.js";

export interface SyncWorkDependencies extends Pick<SyncDependencies, "observer" | "blobs" | "onCommit"> {
  readonly config: Config;
  readonly pool: Pool;
  readonly queue: ImportQueue;
  readonly secrets: ConnectionSecrets;
  readonly log: Logger;
}

export interface OpenSyncWork extends SyncWork {
  close(): void;
}

/** Connects to Redis when it is first needed; without it the budgets of this process are its own. */
export async function createSyncWork({
  config,
  pool,
  queue,
  secrets,
  log,
  ...told
}: SyncWorkDependencies): Promise<OpenSyncWork> {
  const redis = new RedisService({ url: config.redis.url, log });
  await redis.connect();
  const providers = providersOf(config.providers, { fetch: secrets.fetch, budget: new Budget(redis) });
  const { step } = createSyncSteps({
    pool,
    providers,
    openAccess: (connectionId) => openAccess({ pool, ...secrets }, connectionId),
    limits: config.imports,
    uploadMaxBytes: config.imports.uploadMaxBytes,
    pagesMax: config.providers.pagesMax,
    ...told,
  });
  const { batchRows } = config.imports;
  const opening = {
    pool,
    queue,
    log,
    batchRows,
    isSetUp: (provider: ConnectionProvider) => providers.has(provider),
  };
  return {
    step,
    open: (connectionId) => openDueSync(opening, connectionId),
    close: () => redis.close(),
  };
}
