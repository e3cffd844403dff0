/** The servers of this test run. */
import { readFileSync } from "node:fs";
import path from "node:path";

export interface TestStack {
  /** A role that may create databases, connected to a database nobody should write to. */
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly temporalAddress: string;
  readonly temporalUiUrl: string | undefined;
  /** Path of the prebuilt workflows, for `Worker.create({ workflowBundle: { codePath } })`. */
  readonly workflowBundle: string;
}

/**
 * Addresses of the run's servers. Call it inside hooks and tests only: files are loaded before the servers
 * are started, so at module level it throws.
 */
export function testStack(): TestStack {
  return {
    databaseUrl: required("DATABASE_URL"),
    redisUrl: required("REDIS_URL"),
    temporalAddress: required("TEMPORAL_ADDRESS"),
    temporalUiUrl: process.env["TEMPORAL_UI_URL"],
    workflowBundle: required("PLAYLOG_WORKFLOW_BUNDLE"),
  };
}

/**
 * Pid of one of the run's embedded servers as it is now, for tests that kill it: it comes back on the same
 * port after half a second. Undefined when that server was given from outside.
 */
export function serverPid(name: "postgres" | "redis" | "temporal"): number | undefined {
  const record: unknown = JSON.parse(
    readFileSync(path.join(required("PLAYLOG_STACK_FOLDER"), "keeper.json"), "utf8"),
  );
  const { servers } = record as { servers: readonly { name: string; pid: number }[] };
  return servers.find((server) => server.name === name)?.pid;
}

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") {
    throw new Error(`${name} is not set: run the tests through mocha, and call this inside a hook or a test`);
  }
  return value;
}
