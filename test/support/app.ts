/**
 * The whole api for a test file: real app on a free port, its own database, its own keys in the run's Redis, its
 * own folder. Call `startTestApp` in a hook and `close` in another; nothing is left then.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Writable } from "node:stream";
import { Redis } from "ioredis";
import { buildApp } from "../../api/app.js";
import { composeServices } from "../../api/composition.js";
import { serve } from "../../api/httpServer.js";
import type { AppDeps } from "../../api/types.js";
import { loadConfig, type Config } from "../../config.js";
import { createDatabase } from "../../db/knex.js";
import { DatabaseListener } from "../../db/listener.js";
import { logStatements } from "../../db/sqlLog.js";
import { loadSigningKeys, type SigningKeys } from "../../services/auth/signingKeys.js";
import { RedisService } from "../../services/cache/RedisService.js";
import { loadConnectionSecrets } from "../../services/connections/secrets.js";
import type { ImportQueue, JobRef } from "../../services/import/ImportQueue.js";
import { runIsOver } from "../../services/import/jobs.js";
import { openImportQueue } from "../../services/import/queues/index.js";
import type { BlobStore } from "../../services/storage/BlobStore.js";
import { FileBlobStore } from "../../services/storage/FileBlobStore.js";
import { createLogger } from "../../utils/logger.js";
import { createTestDatabase } from "./database.js";
import type { TestUser } from "./factories.js";
import { httpClient, type Client } from "./http.js";
import { testStack } from "./stack.js";

export interface TestAppOptions {
  /** Environment variables laid over those of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** In place of the one on the run's Temporal server, whose task queue no worker serves. Closed with the app. */
  readonly queue?: ImportQueue;
  readonly blobs?: BlobStore;
  readonly keys?: SigningKeys;
  /** A second api on the database, the Redis keys and the folder of this one, which must be closed last. */
  readonly beside?: TestApp;
}

export interface TestApp {
  readonly url: string;
  readonly port: number;
  readonly config: Config;
  readonly deps: AppDeps;
  readonly listener: DatabaseListener;
  readonly databaseUrl: string;
  /** Knows the namespace of this app's keys; for looking at them and for breaking them. */
  readonly redisKeys: { readonly client: Redis; readonly namespace: string };
  /** Nobody: no token. */
  readonly anonymous: Client;
  as(user: Pick<TestUser, "accessToken">): Client;
  /** What the app has logged so far, one JSON document per line. */
  logs(): string;
  close(): Promise<void>;
}

export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const stack = testStack();
  const { beside } = options;
  const testDatabase = beside === undefined ? await createTestDatabase() : undefined;
  const databaseUrl = testDatabase?.url ?? (beside as TestApp).databaseUrl;
  const home = beside?.config.home ?? (await mkdtemp(path.join(tmpdir(), "playlog-test-")));
  const namespace = beside?.redisKeys.namespace ?? `test-${randomBytes(6).toString("hex")}`;

  const config = loadConfig({
    PLAYLOG_HOME: home,
    DATABASE_URL: databaseUrl,
    REDIS_URL: stack.redisUrl,
    TEMPORAL_ADDRESS: stack.temporalAddress,
    TEMPORAL_TASK_QUEUE: namespace,
    BCRYPT_COST: "4",
    LOG_LEVEL: "debug",
    RATE_LIMIT: "off",
    ...options.env,
  });
  const database = createDatabase(config.database, { applicationName: "playlog-test-api" });
  const lines: string[] = [];
  const log = createLogger(config.log, { service: "api" }, collector(lines));
  logStatements(database, config.sqlLog, log);
  const redis = new RedisService({ url: config.redis.url, log, namespace });
  const listener = new DatabaseListener({ databaseUrl: config.database.url, log });
  const isOver = (ref: JobRef): Promise<boolean> => runIsOver(database.pool, ref);
  const queue = options.queue ?? (await openImportQueue(config, { log, isOver }));
  const deps = composeServices({
    config,
    database,
    redis,
    listener,
    queue,
    blobs: options.blobs ?? new FileBlobStore(config.spoolDir),
    keys:
      options.keys ?? (await loadSigningKeys(home, config.auth.jwtSecret, config.auth.jwtPreviousSecrets)),
    secrets: await loadConnectionSecrets(config),
    log,
  });
  const client = new Redis(stack.redisUrl, { lazyConnect: true });
  await Promise.all([redis.connect(), listener.start(), client.connect()]);
  const server = await serve(buildApp(deps), "127.0.0.1", 0);

  return {
    url: server.url,
    port: server.port,
    config,
    deps,
    listener,
    databaseUrl,
    redisKeys: { client, namespace },
    anonymous: httpClient(server.url, null),
    as: (user) => httpClient(server.url, user.accessToken),
    logs: () => lines.join(""),
    close: async () => {
      await server.close(2000);
      redis.close();
      await Promise.all([listener.close(), queue.close(), database.close()]);
      if (testDatabase !== undefined) {
        await deleteKeys(client, namespace);
        await testDatabase.drop();
        await rm(home, { recursive: true, force: true });
      }
      client.disconnect();
    },
  };
}

const collector = (lines: string[]): Writable =>
  new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });

async function deleteKeys(client: Redis, namespace: string): Promise<void> {
  const keys = await client.keys(`${namespace}:*`);
  if (keys.length > 0) await client.del(keys);
}
