/**
 * What work costs: time on the clock, processor time of every program that takes part, and their peak memory. Read
 * from /proc, so Linux only; elsewhere the figures are NaN, and print as "-".
 */
import { readFile, readdir, writeFile } from "node:fs/promises";
import type pg from "pg";
import { readRecord } from "../../dev/home.mjs";

/** Clock ticks of /proc/PID/stat: 100 a second on every Linux that Node runs on. */
const TICKS = 100;

export type Program = "worker" | "api" | "postgres" | "temporal";

export interface Watched {
  readonly worker: number;
  readonly api: number;
  /** Any connection to the server whose processes are to be watched; it must run on this machine. */
  readonly admin: pg.Client;
}

export interface Cost {
  readonly seconds: number;
  /** Processor seconds, user and system. */
  readonly cpu: Readonly<Record<Program, number>>;
  /** Highest resident memory within the time measured. */
  readonly peakMb: Readonly<Record<"worker" | "api", number>>;
}

/** Runs `work` and tells its cost; what else the programs did meanwhile is in it. */
export async function measure(watched: Watched, work: () => Promise<unknown>): Promise<Cost> {
  await Promise.all([forgetPeak(watched.worker), forgetPeak(watched.api)]);
  const before = await cpuOf(watched);
  const begun = process.hrtime.bigint();
  await work();
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  const after = await cpuOf(watched);
  const spent = (program: Program): number => after[program] - before[program];
  return {
    seconds,
    cpu: {
      worker: spent("worker"),
      api: spent("api"),
      postgres: spent("postgres"),
      temporal: spent("temporal"),
    },
    peakMb: { worker: await peakMb(watched.worker), api: await peakMb(watched.api) },
  };
}

/** Processor seconds of each program until now. */
export async function cpuOf({ worker, api, admin }: Watched): Promise<Record<Program, number>> {
  return {
    worker: await cpuSeconds(worker),
    api: await cpuSeconds(api),
    postgres: await serverCpuSeconds(admin),
    temporal: await cpuSeconds(await temporalPid()),
  };
}

/** Fields of /proc/PID/stat after the name, which may hold spaces: [0] state, [1] parent, [11..14] times in ticks. */
async function statOf(pid: number): Promise<readonly string[]> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

/** Processor seconds a process has used, its ended children included on request. */
export async function cpuSeconds(pid: number, withChildren = false): Promise<number> {
  const stat = await statOf(pid);
  const fields = withChildren ? [11, 12, 13, 14] : [11, 12];
  return fields.reduce((sum, field) => sum + Number(stat[field]), 0) / TICKS;
}

/** The postmaster, what it has forked and is alive, and what it has forked and buried. */
async function serverCpuSeconds(admin: pg.Client): Promise<number> {
  const { rows } = await admin.query<{ pid: number }>("select pg_backend_pid() as pid");
  const postmaster = Number((await statOf(rows[0]!.pid))[1]);
  if (!Number.isInteger(postmaster)) return Number.NaN;
  let sum = await cpuSeconds(postmaster, true);
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = await statOf(Number(name));
    if (Number(stat[1]) === postmaster) sum += (Number(stat[11]) + Number(stat[12])) / TICKS;
  }
  return sum;
}

/** Of the Temporal that the bench itself started; NaN where one was given. */
async function temporalPid(): Promise<number> {
  const folder = process.env["PLAYLOG_STACK_FOLDER"];
  const record = folder === undefined ? undefined : await readRecord(folder);
  for (const { pid } of record?.servers ?? []) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes("temporal")) return pid;
  }
  return Number.NaN;
}

/** Makes the kernel count a process's peak memory anew. */
async function forgetPeak(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, "5").catch(() => undefined);
}

/** Peak resident memory in MB since `forgetPeak`. */
export async function peakMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}

/** Resident memory in MB, now. */
export async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}
