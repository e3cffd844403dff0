/** `npm run bench -- NAME [arguments]`: bench/NAME.ts on servers of its own that flush to disk like real ones. */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { compileService } from "../compile.js";
import { onEnding } from "../endings.js";
import { cacheFolder, startStack } from "../stack.js";
import { cachedWorkflowBundle } from "../workflowBundle.js";

const BENCHES = path.resolve(import.meta.dirname, "..", "..", "bench");

export async function run([name, ...args]: readonly string[]): Promise<void> {
  const file = path.join(BENCHES, `${name ?? ""}.ts`);
  if (!existsSync(file)) {
    const names = (await readdir(BENCHES)).filter((entry) => entry.endsWith(".ts"));
    throw new Error(
      `usage: npm run bench -- NAME, with one of: ${names.map((n) => n.slice(0, -3)).join(", ")}`,
    );
  }
  const bundle = await cachedWorkflowBundle(cacheFolder(process.env));
  const compiled = await compileService();
  const stack = await startStack({ fsync: true, env: process.env, note: (text) => console.error(text) });
  const ending = onEnding(() => void stack.stop().then(() => process.exit(130)));
  try {
    process.env["DATABASE_URL"] = stack.databaseUrl;
    process.env["REDIS_URL"] = stack.redisUrl;
    process.env["TEMPORAL_ADDRESS"] = stack.temporalAddress;
    process.env["PLAYLOG_STACK_FOLDER"] = stack.folder;
    process.env["PLAYLOG_TEST_COMPILED"] = compiled;
    if (bundle !== undefined) process.env["PLAYLOG_WORKFLOW_BUNDLE"] = bundle;
    const bench = (await import(pathToFileURL(file).href)) as { run(args: readonly string[]): Promise<void> };
    await bench.run(args);
  } finally {
    ending.ignore();
    await stack.stop();
    await rm(compiled, { recursive: true, force: true });
  }
}
