/**
 * Starts real servers once for the whole run and says in the environment where they are. What is already
 * named there (DATABASE_URL, REDIS_URL, TEMPORAL_ADDRESS) is used as it is; its role must be allowed to
 * create databases.
 */
import { rm } from "node:fs/promises";
import { compileService } from "../dev/compile.js";
import { type Stack, cacheFolder, startStack } from "../dev/stack.js";
import { cachedWorkflowBundle } from "../dev/workflowBundle.js";

let stack: Stack | undefined;
let compiled: string | undefined;

export async function mochaGlobalSetup(): Promise<void> {
  const starting = startStack({
    fsync: false,
    env: process.env,
    note: (text) => console.error(`[servers] ${text}`),
  });
  const [started, bundle, service] = await Promise.allSettled([
    starting,
    cachedWorkflowBundle(cacheFolder(process.env)),
    compileService(),
  ]);
  if (started.status === "rejected") throw started.reason;
  stack = started.value;
  if (service.status === "fulfilled") compiled = service.value;
  for (const made of [bundle, service]) {
    if (made.status === "fulfilled") continue;
    await mochaGlobalTeardown();
    throw made.reason;
  }
  const found: Record<string, string | undefined> = {
    DATABASE_URL: stack.databaseUrl,
    REDIS_URL: stack.redisUrl,
    TEMPORAL_ADDRESS: stack.temporalAddress,
    TEMPORAL_UI_URL: stack.temporalUiUrl,
    PLAYLOG_STACK_FOLDER: stack.folder,
    PLAYLOG_WORKFLOW_BUNDLE: bundle.status === "fulfilled" ? bundle.value : undefined,
    PLAYLOG_TEST_COMPILED: compiled,
  };
  for (const [name, value] of Object.entries(found)) {
    if (value !== undefined) process.env[name] = value;
  }
}

export async function mochaGlobalTeardown(): Promise<void> {
  await stack?.stop();
  if (compiled !== undefined) await rm(compiled, { recursive: true, force: true });
}
