/**
 * Owns the embedded servers of one `npm start`, test run or bench. It lives exactly as long as the channel to
 * the process that forked it, so any death of that process, kill -9 included, ends the servers too.
 *
 * Argument: JSON of `KeeperOptions` in stack.ts. Messages out: `note`, `ready`, `failed`; in: `stop`.
 * Plain JavaScript with built-ins only, so that it starts at once and stays small.
 */
import { mkdir, rm } from "node:fs/promises";
import path from "node:path";
import { claimFolder, removeRecord, sweepThrowaways, writeRecord } from "./home.mjs";
import { preparePostgres } from "./postgres.mjs";
import { assertPlatform, findRedis, findTemporal } from "./programs.mjs";
import { redisServer, temporalServer } from "./servers.mjs";
import { endRuns, freePort, startedAt } from "./system.mjs";
import { takeTurn } from "./turn.mjs";
import { WatchedServer } from "./watched.mjs";

const STOP_GRACE_MS = 8000;
const options = JSON.parse(process.argv[2]);
const { folder, cache, throwaway, embed, ports } = options;
const servers = [];
let parent;
/** Whether the folder is ours; a claim under way when somebody calls the start off is waited for. */
let claiming = Promise.resolve(false);
let foreignFolder;
let stopping;

const send = (message) =>
  new Promise((resolve) => (process.connected ? process.send(message, () => resolve()) : resolve()));
const note = (text) => void send({ type: "note", text });

process.on("disconnect", () => void stop(0));
process.on("message", (message) => {
  if (message?.type === "stop") void stop(0);
});
// Signals meant for the terminal's whole group do not reach us; these are somebody's deliberate choice.
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => void stop(0));
process.stderr.on("error", () => undefined);

async function start() {
  parent = { pid: process.ppid, start: await startedAt(process.ppid) };
  if (embed.length > 0) assertPlatform();
  if (throwaway) await sweepThrowaways();
  claiming = claimFolder(folder, parent).then(() => true);
  await claiming;
  const has = (name) => embed.includes(name);

  // Everything is fetched before anything is started: a failed fetch then leaves nothing behind.
  const fetched = await Promise.allSettled([
    has("redis") ? findRedis({ cache, note }) : undefined,
    has("temporal") ? findTemporal({ cache, note }) : undefined,
  ]);
  const failed = fetched.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
  const [redis, temporal] = fetched.map((result) => result.value);

  // Throw-away servers take random ports, which nobody else picks in the same moment.
  const passOn = ports === undefined ? () => undefined : await takeTurn();
  try {
    await startServers(has, redis, temporal);
  } finally {
    passOn();
  }
}

async function startServers(has, redis, temporal) {
  const logs = path.join(folder, "logs");
  await mkdir(logs, { recursive: true });
  const log = (name) => path.join(logs, `${name}.log`);
  const taken = new Set();
  const port = async (name) => freePort(ports?.[name], taken);

  const specs = [];
  if (has("postgres")) {
    const at = await port("postgres");
    specs.push(await preparePostgres({ folder, port: at, fsync: options.fsync, logFile: log("postgres") }));
    foreignFolder = specs[0].foreignFolder;
    if (foreignFolder !== undefined && !throwaway) {
      note(`PostgreSQL keeps its data in ${foreignFolder}: its user may not enter ${folder}`);
    }
  }
  if (redis !== undefined) {
    specs.push(redisServer({ folder, port: await port("redis"), found: redis, logFile: log("redis") }));
  }
  if (temporal !== undefined) {
    const at = { port: await port("temporal"), uiPort: await port("temporalUi") };
    specs.push(temporalServer({ folder, ...at, program: temporal, throwaway, logFile: log("temporal") }));
  }
  if (stopping !== undefined) return;

  servers.push(...specs.map((spec) => new WatchedServer(spec, { note, onProcess: record })));
  await Promise.all(servers.map((server) => server.start()));
  const by = (name) => specs.find((spec) => spec.name === name);
  await send({
    type: "ready",
    addresses: {
      databaseUrl: by("postgres")?.url,
      redisUrl: by("redis")?.url,
      temporalAddress: by("temporal")?.url,
      temporalUiUrl: by("temporal")?.uiUrl,
    },
  });
}

let writing = Promise.resolve();

/** One write after the other: two servers may report at the same time. */
function record() {
  writing = writing.then(() =>
    writeRecord(
      folder,
      parent,
      servers.map((server) => server.process).filter((known) => known !== undefined),
      throwaway ? foreignFolder : undefined,
    ),
  );
  return writing;
}

function stop(code) {
  stopping ??= (async () => {
    endRuns();
    await Promise.all(servers.map((server) => server.stop({ hard: throwaway, graceMs: STOP_GRACE_MS })));
    await writing.catch(() => undefined);
    if (throwaway) {
      if (foreignFolder !== undefined) await rm(foreignFolder, { recursive: true, force: true });
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    } else if (await claiming.catch(() => false)) {
      await removeRecord(folder);
    }
    process.exit(code);
  })();
  return stopping;
}

start().catch(async (error) => {
  if (stopping !== undefined) return;
  await send({ type: "failed", message: error.message });
  await stop(1);
});
