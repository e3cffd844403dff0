/**
 * `npm run bench -- import [rows] [rounds]`
 *
 * The whole product against the floor: a ZIP of Spotify records through HTTP, Temporal and the worker to committed rows,
 * and then a server-side COPY of exactly those rows into exactly that table, in the same run, round by round. The ratio
 * of the two rates is the figure; both move with the machine, their ratio much less.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { migrateToLatest } from "../db/migrate.js";
import { WORKER_NODE_OPTIONS } from "../dev/app.js";
import { freePort, startEntry, type RunningEntry } from "../test/support/processes.js";
import { listenerArchive } from "./support/spotifyArchive.js";
import { median, ratio } from "./support/statistics.js";

interface Round {
  readonly importRate: number;
  readonly copyRate: number;
  readonly reimportRate: number;
}

interface Job {
  readonly id: string;
  readonly status: string;
  readonly counts: { readonly read: number; readonly inserted: number; readonly duplicate: number };
}

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rows = Number(args[0] ?? 250_000);
  const rounds = Number(args[1] ?? 3);
  const home = await mkdtemp(path.join(tmpdir(), "playlog-bench-"));
  const database = await createDatabase();
  const processes: RunningEntry[] = [];
  try {
    const port = await freePort();
    const env = {
      DATABASE_URL: database.url,
      PLAYLOG_HOME: home,
      PORT: String(port),
      TEMPORAL_TASK_QUEUE: `bench-${process.pid}`,
      LOG_LEVEL: "warn",
    };
    const worker = await startEntry("activities/worker.ts", env, WORKER_NODE_OPTIONS);
    processes.push(worker, await startEntry("api/server.ts", env));
    const client = await BenchClient.register(`http://127.0.0.1:${port}`);

    console.log(`making an archive of ${rows.toLocaleString("en")} records`);
    const archive = listenerArchive({ rows, parts: 13 });
    console.log(`${(archive.length / 1e6).toFixed(1)} MB as ZIP; ${rounds} rounds`);

    const results: Round[] = [];
    for (let round = 1; round <= rounds; round++) {
      results.push(await measureRound(client, database.admin, archive, rows));
      const last = results.at(-1)!;
      console.log(
        `round ${round}: import ${show(last.importRate)}, COPY ${show(last.copyRate)}, ` +
          `ratio ${ratio(last.importRate / last.copyRate)}, import again ${show(last.reimportRate)}`,
      );
    }
    console.log("medians");
    console.log(`  import, cold catalogue  ${show(median(results.map((r) => r.importRate)))}`);
    console.log(`  server-side COPY        ${show(median(results.map((r) => r.copyRate)))}`);
    console.log(`  import / COPY           ${ratio(median(results.map((r) => r.importRate / r.copyRate)))}`);
    console.log(
      `  same file again / first ${ratio(median(results.map((r) => r.reimportRate / r.importRate)))}`,
    );
    console.log(`  worker peak RSS         ${await peakRssMb(worker.pid)} MB`);
  } finally {
    for (const entry of processes.reverse()) await entry.stop();
    await database.drop();
    await rm(home, { recursive: true, force: true });
  }
}

async function measureRound(
  client: BenchClient,
  admin: pg.Client,
  archive: Buffer,
  rows: number,
): Promise<Round> {
  await admin.query(
    "truncate listening_history, tracks, albums, artists, external_ids, album_tracks, track_artists, import_jobs cascade",
  );
  await admin.query("insert into artists (name, name_key) values ('[unknown]', '[unknown]')");
  await admin.query("checkpoint");
  const importSeconds = await client.timeImport(archive, { inserted: rows, duplicate: 0 });
  await admin.query("checkpoint");
  const reimportSeconds = await client.timeImport(archive, { inserted: 0, duplicate: rows });

  const { rows: directory } = await admin.query<{ data_directory: string }>("show data_directory");
  const file = path.join(directory[0]!.data_directory, "playlog-bench.copy");
  const literal = admin.escapeLiteral(file);
  await admin.query(`copy (select * from listening_history order by played_at) to ${literal}`);
  await admin.query("truncate listening_history cascade");
  await admin.query("checkpoint");
  const begun = process.hrtime.bigint();
  await admin.query(`copy listening_history from ${literal}`);
  const copySeconds = Number(process.hrtime.bigint() - begun) / 1e9;
  await rm(file, { force: true });
  return {
    importRate: rows / importSeconds,
    copyRate: rows / copySeconds,
    reimportRate: rows / reimportSeconds,
  };
}

/** A user of the api, with just what the benchmark asks of it. */
class BenchClient {
  private constructor(
    private readonly base: string,
    private readonly login: { readonly login: string; readonly password: string },
    private token: string,
  ) {}

  static async register(base: string): Promise<BenchClient> {
    const name = `bench${process.pid}`;
    const password = "correct horse battery staple";
    const response = await fetch(`${base}/api/v1/auth/register`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ email: `${name}@example.org`, username: name, password }),
    });
    if (response.status !== 201)
      throw new Error(`register answered ${response.status}: ${await response.text()}`);
    const { accessToken } = (await response.json()) as { accessToken: string };
    return new BenchClient(base, { login: name, password }, accessToken);
  }

  /** Uploads, waits until the job is closed, checks its counts and returns the seconds it took, upload included. */
  async timeImport(archive: Buffer, expected: { inserted: number; duplicate: number }): Promise<number> {
    await this.renew();
    const begun = process.hrtime.bigint();
    let job = await this.request<Job>("POST", "/api/v1/imports?filename=bench.zip", archive);
    while (!["completed", "completed_with_errors", "failed", "cancelled"].includes(job.status)) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      job = await this.request<Job>("GET", `/api/v1/imports/${job.id}`);
    }
    const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
    const { inserted, duplicate } = job.counts;
    if (job.status !== "completed" || inserted !== expected.inserted || duplicate !== expected.duplicate) {
      throw new Error(`the import went wrong: ${JSON.stringify(job)}`);
    }
    return seconds;
  }

  private async renew(): Promise<void> {
    const answer = await fetch(`${this.base}/api/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(this.login),
    });
    this.token = ((await answer.json()) as { accessToken: string }).accessToken;
  }

  private async request<T>(method: string, address: string, body?: Buffer): Promise<T> {
    const response = await fetch(this.base + address, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body ? { "content-type": "application/zip" } : {}),
      },
      ...(body ? { body: new Uint8Array(body) } : {}),
    });
    if (!response.ok)
      throw new Error(`${method} ${address} answered ${response.status}: ${await response.text()}`);
    return (await response.json()) as T;
  }
}

interface BenchDatabase {
  readonly url: string;
  readonly admin: pg.Client;
  drop(): Promise<void>;
}

async function createDatabase(): Promise<BenchDatabase> {
  const server = process.env["DATABASE_URL"];
  if (!server) throw new Error("DATABASE_URL is not set: run this through `npm run bench -- import`");
  const name = `playlog_bench_${process.pid}`;
  const owner = new pg.Client({ connectionString: server });
  await owner.connect();
  await owner.query(`create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  await migrateToLatest(url.href);
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  return {
    url: url.href,
    admin,
    drop: async () => {
      await admin.end();
      await owner.query(`drop database ${name} with (force)`);
      await owner.end();
    },
  };
}

/** Peak resident memory of a process in MB; Linux only. */
async function peakRssMb(pid: number): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kb = /VmHWM:\s+(\d+) kB/.exec(status)?.[1];
  return kb ? (Number(kb) / 1024).toFixed(0) : "unknown";
}

const show = (rate: number): string => `${Math.round(rate).toLocaleString("en")} rows/s`;
