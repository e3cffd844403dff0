/**
 * `npm run bench -- http [rounds] [plays] [parts, of cached,uncached,depth,storm]`
 *
 * What an answer of the api costs, through everything that stands between the socket and the page: id, log line, metrics, token,
 * session, limit, validation, version, cache. Each server is a process of its own with the settings of production on one
 * core; the load and the servers of the stack have the other. All sides of a comparison take turns in the same run, and only their
 * ratios are results.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { request } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { createTestDatabase } from "../test/support/database.js";
import { insertLongHistory } from "../test/support/plays.js";
import { freePort } from "../test/support/processes.js";
import { encodeCursor } from "../utils/pagination.js";
import {
  type Load,
  type Measured,
  measureLoad,
  pin,
  pinServers,
  type Program,
  startLoad,
  startProgram,
} from "./support/http/programs.js";
import { cpu, inTurns, rate, ratios, table, verdict } from "./support/http/rounds.js";
import { BenchClient } from "./support/client.js";
import { scratchFolder } from "./support/scratch.js";
import { ratio } from "./support/statistics.js";

const LIST = "/api/v1/listening-history";
const SERVER_CORE = "0";
const LOAD_CORE = "1";
const BOTH_CORES = "0,1";
const ROUND_MS = 3000;
const WARM_MS = 1500;
const CONNECTIONS = 32;
/** So many that none is asked for while it is still in the way of the next round. */
const PLACES = 200;
const DEEP = 0.9;
const LOGINS_IN_FLIGHT = 20;
const STORM_CONNECTIONS = 8;
/** Production's limits stop one user at 50 requests a second; these count in the same way and stop nobody. */
const LIMITS = {
  RATE_READS: "3000000/60",
  RATE_LOGIN: "3000000/60",
  RATE_LOGIN_DEVICE: "3000000/60",
  RATE_LOGIN_ACCOUNT: "3000000/60",
};

interface Side extends Program {
  readonly name: string;
  readonly port: number;
}

interface Bench {
  readonly rounds: number;
  readonly env: Readonly<Record<string, string>>;
  readonly folder: string;
  readonly load: Load;
  readonly api: Side;
  readonly reader: BenchClient;
  readonly pool: pg.Pool;
  readonly userId: string;
  readonly plays: number;
  start(name: string, entry: string, env?: Readonly<Record<string, string>>): Promise<Side>;
}

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rounds = Number(args[0] ?? 5);
  const plays = Number(args[1] ?? 1_000_000);
  const folder = scratchFolder();
  const db = await createTestDatabase();
  const running: Program[] = [];
  const env = {
    DATABASE_URL: db.url,
    PLAYLOG_HOME: folder.path,
    JWT_SECRET: randomBytes(32).toString("hex"),
    TEMPORAL_TASK_QUEUE: `bench-${process.pid}`,
    ...LIMITS,
  };
  const start: Bench["start"] = async (name, entry, more = {}) => {
    const port = await freePort();
    const program = await startProgram(entry, { ...env, PORT: String(port), ...more }, profiled(name));
    running.push(program);
    await pin(program.pid, SERVER_CORE);
    return { ...program, name, port };
  };
  try {
    const api = await start("playlog", "api/server.ts");
    const load = await startLoad();
    running.push(load);
    const { pool } = db.database;
    const reader = await BenchClient.register(`http://127.0.0.1:${api.port}`, "reader");
    const { id: userId } = await reader.get<{ id: string }>("/api/v1/users/me");
    console.log(`${plays} plays of one user ...`);
    await insertLongHistory(pool, userId, plays, { start: "2001-01-01T00:00:00Z" });
    await pool.query("vacuum analyze listening_history");
    await pinServers(LOAD_CORE);
    await pin(load.pid, LOAD_CORE);
    const bench = { rounds, env, folder: folder.path, load, api, reader, pool, userId, plays, start };
    const parts = { cached: cachedPage, uncached: uncachedPage, depth, storm: loginStorm };
    const chosen = args[2]?.split(",") ?? Object.keys(parts);
    for (const [name, measure] of Object.entries(parts)) if (chosen.includes(name)) await measure(bench);
  } finally {
    for (const program of running.reverse()) await program.stop();
    await db.drop();
    folder.remove();
  }
}

/** With PROFILE=name of a side, its processor profile is left in the current folder. */
const profiled = (name: string): readonly string[] =>
  process.env["PROFILE"] === name ? ["--cpu-prof", `--cpu-prof-dir=${process.cwd()}`] : [];

async function requestOf(reader: BenchClient, address: string, encoding = "identity"): Promise<string> {
  const lines = [
    `GET ${address} HTTP/1.1`,
    "Host: 127.0.0.1",
    "User-Agent: bench",
    "Accept: application/json",
    `Accept-Encoding: ${encoding}`,
    `Authorization: Bearer ${await reader.token()}`,
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

async function cachedPage(bench: Bench): Promise<void> {
  for (const encoding of ["identity", "gzip"] as const) {
    const identity = await bodyOf(bench, "identity");
    const plain = path.join(bench.folder, "page.json");
    const sent = path.join(bench.folder, `page.${encoding}`);
    writeFileSync(plain, identity);
    writeFileSync(sent, await bodyOf(bench, encoding));
    const sides = {
      bare: await bench.start("bare", "bench/support/http/bare.ts", { BODY: sent }),
      playlog: bench.api,
      fastify: await bench.start("fastify", "bench/support/http/fastify.ts", { BODY: plain }),
    };
    const requests = [await requestOf(bench.reader, LIST, encoding)];
    const measure = (side: Side, ms: number): Promise<Measured> =>
      measureLoad(bench.load, side, { port: side.port, connections: CONNECTIONS, ms, requests });
    for (const side of Object.values(sides)) await measure(side, WARM_MS);
    const results = await inTurns(bench.rounds, ["bare", "playlog", "fastify"], (name) =>
      measure(sides[name], ROUND_MS),
    );
    table(`Cached page of ${identity.length} bytes, ${encoding}, ${CONNECTIONS} connections`, results);
    const { playlog, bare, fastify } = results;
    verdict("rate, of bare", ratios(playlog, bare, rate), 0.1, "at least");
    verdict("rate, of fastify", ratios(playlog, fastify, rate), 1, "at least");
    console.log(`CPU of bare / CPU: ${ratio(ratios(bare, playlog, cpu))}`);
    console.log(`CPU of fastify / CPU: ${ratio(ratios(fastify, playlog, cpu))}`);
    await Promise.all([sides.bare.stop(), sides.fastify.stop()]);
  }
}

/** As it goes over the wire; fetch would unpack it. */
async function bodyOf({ api, reader }: Bench, encoding: "identity" | "gzip"): Promise<Buffer> {
  const headers = { authorization: `Bearer ${await reader.token()}`, "accept-encoding": encoding };
  return new Promise((resolve, reject) => {
    request({ port: api.port, host: "127.0.0.1", path: LIST, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(Buffer.concat(chunks)));
    })
      .on("error", reject)
      .end();
  });
}

/** Requests for pages that begin at consecutive places from `first` on; such pages are never kept. */
async function pagesFrom(bench: Bench, first: number): Promise<string[]> {
  const { rows } = await bench.pool.query<{ at: string; id: number }>(
    `select to_char(played_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, id
       from listening_history where user_id = $1 order by played_at desc, id desc offset $2 limit $3`,
    [bench.userId, first, PLACES],
  );
  return Promise.all(
    rows.map(({ at, id }) =>
      requestOf(bench.reader, `${LIST}?cursor=${encodeCursor("listens-desc", [at, id])}`),
    ),
  );
}

async function uncachedPage(bench: Bench): Promise<void> {
  const graph = await bench.start("objection", "bench/support/http/objection.ts");
  const requests = await pagesFrom(bench, Math.floor(bench.plays / 2));
  const measure = (side: Side, ms: number): Promise<Measured> =>
    measureLoad(bench.load, side, { port: side.port, connections: STORM_CONNECTIONS, ms, requests });
  const sides = { playlog: bench.api, objection: graph };
  for (const side of Object.values(sides)) await measure(side, WARM_MS);
  const results = await inTurns(bench.rounds, ["playlog", "objection"], (name) =>
    measure(sides[name], ROUND_MS),
  );
  table(`Page that is not cached, ${STORM_CONNECTIONS} connections`, results);
  verdict(
    "CPU, of Objection's withGraphFetched",
    ratios(results.playlog, results.objection, cpu),
    0.35,
    "at most",
  );
  await graph.stop();
}

async function depth(bench: Bench): Promise<void> {
  const requests = { first: await pagesFrom(bench, 0), deep: await pagesFrom(bench, DEEP * bench.plays) };
  const measure = (name: "first" | "deep", ms: number): Promise<Measured> =>
    measureLoad(bench.load, bench.api, {
      port: bench.api.port,
      connections: 1,
      ms,
      requests: requests[name],
    });
  await measure("first", WARM_MS);
  await measure("deep", WARM_MS);
  const results = await inTurns(bench.rounds, ["first", "deep"], (name) => measure(name, ROUND_MS));
  table(`Page at the top and ${DEEP * bench.plays} plays down, one at a time`, results);
  verdict(
    "time, of the top",
    ratios(results.deep, results.first, ({ p50 }) => p50),
    1.3,
    "at most",
  );
}

/** Nothing is pinned: a password is hashed on the core that is free. */
async function loginStorm(bench: Bench): Promise<void> {
  await pin(bench.api.pid, BOTH_CORES);
  await pin(bench.load.pid, BOTH_CORES);
  await pinServers(BOTH_CORES);
  const storm = await startLoad();
  const base = `http://127.0.0.1:${bench.api.port}`;
  const guests: BenchClient[] = []; // one account may have so many sessions only
  for (let n = 0; n < LOGINS_IN_FLIGHT; n += 1) guests.push(await BenchClient.register(base, `guest${n}x`));
  try {
    const requests = [await requestOf(bench.reader, LIST)];
    const { port } = bench.api;
    const measure = (ms: number): Promise<Measured> =>
      measureLoad(bench.load, bench.api, { port, connections: STORM_CONNECTIONS, ms, requests });
    await measure(WARM_MS);
    let logins = 0;
    const results = await inTurns(bench.rounds, ["idle", "storm"], async (name) => {
      if (name === "idle") return measure(ROUND_MS);
      const order = {
        port,
        connections: LOGINS_IN_FLIGHT,
        ms: ROUND_MS + 2000,
        requests: guests.map((guest) => guest.loginRequest()),
      };
      const storming = storm.run(order);
      await sleep(1000);
      const measured = await measure(ROUND_MS);
      const { statuses, seconds } = await storming;
      if (Object.keys(statuses).some((status) => status !== "200" && status !== "503"))
        throw new Error(`logins were not taken: ${JSON.stringify(statuses)}`);
      logins += (statuses["200"] ?? 0) / seconds / bench.rounds;
      return measured;
    });
    table(`Cached page with ${LOGINS_IN_FLIGHT} logins in flight, ${STORM_CONNECTIONS} connections`, results);
    console.log(`logins: ${logins.toFixed(0)}/s`);
    verdict("rate in the storm, of idle", ratios(results.storm, results.idle, rate), 0.6, "at least");
  } finally {
    await storm.stop();
  }
}
