/**
 * `npm run bench -- cache [listeners]`
 *
 * A day of reading (bench/support/readMix.ts) replayed step by step against the real api process, once with Redis and once
 * with none, which is how the api runs without a cache. Every statement of the process is counted on the wire, so those
 * that check sessions and versions are in. A day takes a minute here; what would have expired in it is taken away.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { Redis } from "ioredis";
import { SESSION_COPY_SECONDS } from "../services/auth/SessionStore.js";
import { PAGE_SECONDS } from "../services/cache/PageCache.js";
import { createTestDatabase, type TestDatabase } from "../test/support/database.js";
import { freePort, startEntry } from "../test/support/processes.js";
import { startStatementCounter, type StatementCounter } from "../test/support/statementCounter.js";
import { PLAYS_EACH, Reader } from "./support/reader.js";
import { readMix, sessionReads, type Reading, type Step } from "./support/readMix.js";

/** Asked for without the cache, too. */
const COLD: ReadonlySet<string> = new Set(["next", "imports"]);

interface Measured {
  requests: number;
  statements: number;
  notModified: number;
  readonly ms: number[];
}

type Result = Map<Reading, Measured>;

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const listeners = Number(args[0] ?? 60);
  const steps = readMix(listeners);
  const redisUrl = process.env["REDIS_URL"] ?? "";
  const db = await createTestDatabase();
  const counter = await startStatementCounter(db.url);
  try {
    const without = await replay({ steps, listeners, db, counter, redisUrl: await noRedis() });
    const withCache = await replay({ steps, listeners, db, counter, redisUrl });
    const sessions = sessionReads(steps, SESSION_COPY_SECONDS / 60);
    console.log(`${steps.length} steps of a day of ${listeners} listeners with ${PLAYS_EACH} plays each`);
    for (const [name, { result }] of [["without", without] as const, ["with", withCache] as const]) {
      console.log(`\n${name} the cache`);
      table(result);
    }
    compare(without.result, withCache.result, sessions);
    console.log(`hit ratio of cached routes: ${(100 * withCache.hitRatio).toFixed(1)} %`);
  } finally {
    await counter.close();
    await db.drop();
  }
}

interface ReplayOptions {
  readonly steps: readonly Step[];
  readonly listeners: number;
  readonly db: TestDatabase;
  readonly counter: StatementCounter;
  readonly redisUrl: string;
}

async function replay(options: ReplayOptions): Promise<{ result: Result; hitRatio: number }> {
  const home = await mkdtemp(path.join(tmpdir(), "playlog-bench-"));
  const [port, opsPort] = [await freePort(), await freePort()];
  const api = await startEntry("api/server.ts", {
    DATABASE_URL: options.counter.url,
    REDIS_URL: options.redisUrl,
    PLAYLOG_HOME: home,
    PORT: String(port),
    OPS_PORT: String(opsPort),
    BCRYPT_COST: "4",
    RATE_LIMIT: "off",
    LOG_LEVEL: "warn",
  });
  const redis = new Redis(options.redisUrl, { lazyConnect: true, retryStrategy: () => null });
  redis.on("error", () => undefined); // the run without Redis has none
  try {
    const pool = options.db.database.pool;
    const base = `http://127.0.0.1:${port}`;
    const readers: Reader[] = [];
    for (let n = 0; n < options.listeners; n += 1) readers.push(await Reader.register(base, pool, n));
    await pool.query("analyze listening_history");
    const result: Result = new Map();
    let age = 0;
    for (const step of options.steps) {
      if (Math.floor((step.minute * 60) / PAGE_SECONDS) > age) {
        age = Math.floor((step.minute * 60) / PAGE_SECONDS);
        await expirePages(redis);
      }
      await perform(step, readers, result, options.counter);
    }
    const metrics = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text();
    return { result, hitRatio: hitRatio(metrics) };
  } finally {
    redis.disconnect();
    await api.stop();
    await rm(home, { recursive: true, force: true });
  }
}

async function perform(
  step: Step,
  readers: readonly Reader[],
  result: Result,
  counter: StatementCounter,
): Promise<void> {
  const reader = readers[step.user]!;
  if (step.kind === "play") return reader.addPlay(step.pick);
  if (step.kind === "profile") return reader.changeProfile(step.pick);
  const measured = result.get(step.kind) ?? { requests: 0, statements: 0, notModified: 0, ms: [] };
  result.set(step.kind, measured);
  for (const address of reader.addresses(step.kind, step.pick, readers)) {
    counter.reset();
    const conditional = step.kind === "refresh" || step.kind === "widget";
    const { status, ms } = await reader.get(address, conditional);
    measured.requests += 1;
    measured.statements += counter.total();
    measured.notModified += status === 304 ? 1 : 0;
    measured.ms.push(ms);
  }
}

/** Called whenever as much time has passed as a page may live: they live half as long on average. */
async function expirePages(redis: Redis): Promise<void> {
  if (redis.status === "wait") await redis.connect().catch(() => undefined);
  if (redis.status !== "ready") return;
  const keys = await redis.keys("playlog:page:*");
  if (keys.length > 0) await redis.unlink(keys);
}

const noRedis = async (): Promise<string> => `redis://127.0.0.1:${await freePort()}/0`;

function hitRatio(metrics: string): number {
  const counts: Record<string, number> = {};
  for (const [, outcome = "", n] of metrics.matchAll(
    /^playlog_cache_answers_total\{.*outcome="(\w+)"\} (\d+)/gm,
  ))
    counts[outcome] = (counts[outcome] ?? 0) + Number(n);
  const { hit = 0, miss = 0, bypass = 0 } = counts;
  return hit / Math.max(1, hit + miss + bypass);
}

const quantile = (values: readonly number[], q: number): string => {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0).toFixed(1);
};

function sumOf(result: Result, kinds: (kind: string) => boolean): Measured {
  const sum: Measured = { requests: 0, statements: 0, notModified: 0, ms: [] };
  for (const [kind, measured] of result) {
    if (!kinds(kind)) continue;
    sum.requests += measured.requests;
    sum.statements += measured.statements;
    sum.notModified += measured.notModified;
    sum.ms.push(...measured.ms);
  }
  return sum;
}

function table(result: Result): void {
  const line = (name: string, { requests, statements, notModified, ms }: Measured): void =>
    console.log(
      `  ${name.padEnd(10)} ${String(requests).padStart(6)} requests ${String(statements).padStart(6)} statements ` +
        `${String(notModified).padStart(6)} x 304  p50 ${quantile(ms, 0.5)} ms  p99 ${quantile(ms, 0.99)} ms`,
    );
  for (const [kind, measured] of [...result].sort((a, b) => b[1].requests - a[1].requests))
    line(kind, measured);
  line(
    "hot",
    sumOf(result, (kind) => !COLD.has(kind)),
  );
  line(
    "all",
    sumOf(result, () => true),
  );
}

function compare(without: Result, withCache: Result, sessions: number): void {
  console.log(`\nsessions read again over a day, added to both sides: ${sessions}`);
  for (const [name, kinds] of [
    ["hot routes", (kind: string) => !COLD.has(kind)],
    ["all", () => true],
    ["all but the widgets", (kind: string) => kind !== "widget"],
  ] as const) {
    const [before, after] = [sumOf(without, kinds).statements, sumOf(withCache, kinds).statements];
    const fewer = 100 * (1 - (after + sessions) / (before + sessions));
    console.log(
      `${name}: ${before + sessions} statements without, ${after + sessions} with: ${fewer.toFixed(1)} % fewer`,
    );
  }
}
