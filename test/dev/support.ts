/** What the tests of the servers' life share. */
import { readFileSync, readdirSync } from "node:fs";
import pg from "pg";
import { type KeeperRecord, readRecord } from "../../dev/home.mjs";
import { type StackOptions, startStack } from "../../dev/stack.js";
import { startedAt } from "../../dev/system.mjs";

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `probe` gives something else than undefined or false; rejects with `what` after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(50);
  }
}

export const isGone = async (pid: number): Promise<boolean> => (await startedAt(pid)) === undefined;

/** Embedded servers whatever the environment of the run names, with the run's cache of programs. */
export function embedded(options: Partial<StackOptions> = {}): ReturnType<typeof startStack> {
  const cache = process.env["XDG_CACHE_HOME"];
  return startStack({ fsync: false, note: () => undefined, env: { XDG_CACHE_HOME: cache }, ...options });
}

export async function recordOf(folder: string): Promise<KeeperRecord> {
  const record = await readRecord(folder);
  if (record === undefined) throw new Error(`nothing runs in ${folder}`);
  return record;
}

export async function queryOne(url: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: url });
  // The end of a server that a test kills also reaches the client as an event.
  client.on("error", () => undefined);
  await client.connect();
  try {
    const { rows } = await client.query<Record<string, unknown>>(sql);
    return Object.values(rows[0] ?? {})[0];
  } finally {
    await client.end();
  }
}

/** Pids of processes that carry `text` in their command line or environment (Linux only). */
export function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => ["cmdline", "environ"].some((file) => readProc(`/proc/${name}/${file}`).includes(text)))
    .map(Number);
}

function readProc(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // ended meanwhile, or somebody else's
  }
}
