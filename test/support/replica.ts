/** A streaming replica of a PostgreSQL of a test's own, made without pg_basebackup, which the embedded server lacks. */
import { execFile } from "node:child_process";
import { appendFile, chown, copyFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { preparePostgres } from "../../dev/postgres.mjs";
import { freePort } from "../../dev/system.mjs";
import { type OwnServer, startServer } from "./servers.js";

export interface Replica extends OwnServer {
  /** What comes from the primary is kept and not applied, as by a replica that lags. */
  pauseReplay(): Promise<void>;
  resumeReplay(): Promise<void>;
  /** Ends the replication for good: the replica takes writes from then on. */
  promote(): Promise<void>;
}

/** Where preparePostgres keeps a cluster, below its folder. */
const DATA = "pg-18";
/** Quick to give way to the primary and to find it again. */
const SETTINGS = ["max_standby_streaming_delay = '200ms'", "wal_retrieve_retry_interval = '100ms'"];

/** Resolves when it answers; it may still be some milliseconds behind. */
export async function startReplica(primary: OwnServer): Promise<Replica> {
  const server = await startServer(async (folder, logFile) => {
    await copyCluster(primary, folder);
    return preparePostgres({ folder, port: await freePort(), fsync: false, logFile });
  });
  const ask = (statement: string): Promise<void> =>
    withClient(server.url, (client) => client.query(statement));
  return Object.defineProperties(
    {
      pauseReplay: () => ask("select pg_wal_replay_pause()"),
      resumeReplay: () => ask("select pg_wal_replay_resume()"),
      promote: () => ask("select pg_promote()"),
    },
    // `pid` and `running` are read anew each time.
    Object.getOwnPropertyDescriptors(server),
  ) as Replica;
}

/** A base backup of `primary` in `folder`, where preparePostgres takes it for a cluster of its own. */
async function copyCluster(primary: OwnServer, folder: string): Promise<void> {
  const [source, target] = [path.join(primary.folder, DATA), path.join(folder, DATA)];
  await withClient(primary.url, async (client) => {
    await client.query("select pg_backup_start('replica', true)");
    // Files may vanish while they are copied; what matters of them is in the log that follows.
    await promisify(execFile)("cp", ["-a", source, target]).catch(() => undefined);
    const { rows } = await client.query<{ labelfile: string }>("select labelfile from pg_backup_stop(false)");
    for (const name of await readdir(target))
      if (name.startsWith("postmaster.")) await rm(path.join(target, name));
    await emptyFolder(path.join(target, "pg_wal"));
    await writeAsOwner(target, "backup_label", rows[0]?.labelfile ?? "");
    await writeAsOwner(target, "standby.signal", "");
    await appendFile(path.join(target, "postgresql.auto.conf"), settingsFor(primary.url));
  });
  await copyFile(path.join(primary.folder, "postgres-password"), path.join(folder, "postgres-password"));
}

function settingsFor(primaryUrl: string): string {
  const { hostname, port, username, password } = new URL(primaryUrl);
  const conninfo = `host=${hostname} port=${port} user=${username} password=${password}`;
  return [`primary_conninfo = '${conninfo}'`, ...SETTINGS, ""].join("\n");
}

/** Its folders stay: the server expects them. */
async function emptyFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isFile()) await rm(path.join(folder, entry.name));
}

/** The server may run as another user than this process. */
async function writeAsOwner(folder: string, name: string, text: string): Promise<void> {
  const file = path.join(folder, name);
  const { uid, gid } = await stat(folder);
  await writeFile(file, text);
  await chown(file, uid, gid);
}

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
