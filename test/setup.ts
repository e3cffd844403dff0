/**
 * Starts real servers once for the whole run and says in the environment where they are. What is already
 * named there (DATABASE_URL, REDIS_URL, TEMPORAL_ADDRESS) is used as it is; its role must be allowed to
 * create databases.
 */
import { type Stack, cacheFolder, startStack } from "../dev/stack.js";
import { cachedWorkflowBundle } from "../dev/workflowBundle.js";

let stack: Stack | undefined;

export async function mochaGlobalSetup(): Promise<void> {
  const starting = startStack({
    fsync: false,
    env: process.env,
    note: (text) => console.error(`[servers] ${text}`),
  });
  const [started, bundle] = await Promise.allSettled([
    starting,
    cachedWorkflowBundle(cacheFolder(process.env)),
  ]);
  if (started.status === "rejected") throw started.reason;
  stack = started.value;
  if (bundle.status === "rejected") {
    await stack.stop();
    throw bundle.reason;
  }
  const found: Record<string, string | undefined> = {
    DATABASE_URL: stack.databaseUrl,
    REDIS_URL: stack.redisUrl,
    TEMPORAL_ADDRESS: stack.temporalAddress,
    TEMPORAL_UI_URL: stack.temporalUiUrl,
    PLAYLOG_STACK_FOLDER: stack.folder,
    PLAYLOG_WORKFLOW_BUNDLE: bundle.value,
  };
  for (const [name, value] of Object.entries(found)) {
    if (value !== undefined) process.env[name] = value;
  }
}

export async function mochaGlobalTeardown(): Promise<void> {
  await stack?.stop();
}
