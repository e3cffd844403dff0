/**
 * `npm run bench -- peers [file] [rounds]`
 *
 * The same Spotify file imported by playlog and by Maloja, in turns. `file` is a Streaming_History_Audio_*.json out of an
 * export; without one a made-up listener of 20,000 plays stands in. Maloja is installed from PyPI into a temporary
 * folder (python3 with venv is needed) and runs its own `maloja import` into an empty SQLite database. Its time includes
 * the start of its process, which is told apart by importing an empty list. playlog's is from the upload until the
 * import is closed, through HTTP, Temporal and PostgreSQL.
 */
import { spawn } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { measure } from "./support/meter.js";
import { startProduct } from "./support/product.js";
import type { Product } from "./support/product.js";
import { scratchFolder } from "./support/scratch.js";
import { listenerRecords } from "./support/spotifyArchive.js";
import { median, ratio } from "./support/statistics.js";

const PEER = "malojaserver==3.2.3";
/** What Maloja goes by to tell formats apart. */
const FILENAME = "Streaming_History_Audio_bench.json";
const MADE_UP_ROWS = 20_000;

/** Runs a command and prints its seconds on the clock and its processor seconds. */
const TIMED = `
import resource, subprocess, sys, time
begun = time.monotonic()
code = subprocess.call(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(code, time.monotonic() - begun, used.ru_utime + used.ru_stime)`;
const COUNT = `
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("select count(*) from scrobbles").fetchone()[0])`;

interface Outcome {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly said: string;
}

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rounds = Number(args[1] ?? 3);
  const folder = scratchFolder();
  try {
    const file = path.join(folder.path, FILENAME);
    await writeFile(file, await (args[0] === undefined ? madeUp() : readFile(args[0])));
    const records = (JSON.parse(await readFile(file, "utf8")) as unknown[]).length;
    const maloja = await Maloja.install(folder.path);
    const product = await startProduct();
    try {
      await compare(product, maloja, file, records, rounds);
    } finally {
      await product.stop();
    }
  } finally {
    folder.remove();
  }
}

async function compare(
  product: Product,
  maloja: Maloja,
  file: string,
  records: number,
  rounds: number,
): Promise<void> {
  const start = await maloja.startSeconds();
  const ours: Outcome[] = [];
  const theirs: Outcome[] = [];
  await importOurs(product, file); // the first import of a process is slower than all others
  for (let round = 1; round <= rounds; round += 1) {
    theirs.push(await maloja.import(file));
    ours.push(await importOurs(product, file));
  }
  const seconds = (outcomes: readonly Outcome[]): number => median(outcomes.map((one) => one.seconds));
  const cpu = (outcomes: readonly Outcome[]): string =>
    median(outcomes.map((one) => one.cpuSeconds)).toFixed(2);
  console.log(`
${records.toLocaleString("en")} records, medians of ${rounds} rounds
| | s | records/s | CPU s, all processes | became of them |
| --- | ---: | ---: | ---: | --- |
| playlog | ${seconds(ours).toFixed(2)} | ${Math.round(records / seconds(ours))} | ${cpu(ours)} | ${ours[0]!.said} |
| ${PEER} | ${seconds(theirs).toFixed(2)} | ${Math.round(records / seconds(theirs))} | ${cpu(theirs)} | ${theirs[0]!.said} |
| less its start | ${(seconds(theirs) - start).toFixed(2)} | ${Math.round(records / (seconds(theirs) - start))} | | |

playlog / Maloja: ${ratio(seconds(theirs) / seconds(ours))}; without Maloja's start ${ratio((seconds(theirs) - start) / seconds(ours))}`);
}

async function importOurs(product: Product, file: string): Promise<Outcome> {
  await product.empty();
  let said = "";
  const watched = { worker: product.worker.pid, api: product.api.pid, admin: product.admin };
  const { seconds, cpu } = await measure(watched, async () => {
    const { counts } = await product.client.importAny(file, FILENAME, 20);
    const { read, inserted, duplicate, skipped, rejected } = counts;
    said = `${read} read = ${inserted} inserted + ${duplicate} duplicate + ${skipped} skipped + ${rejected} rejected`;
  });
  return { seconds, cpuSeconds: cpu.worker + cpu.api + cpu.postgres, said };
}

class Maloja {
  #homes = 0;
  private constructor(private readonly folder: string) {}

  static async install(folder: string): Promise<Maloja> {
    const venv = path.join(folder, "venv");
    console.log(`installing ${PEER} into ${venv}`);
    await output("python3", ["-m", "venv", venv]);
    await output(path.join(venv, "bin", "pip"), ["install", "--quiet", PEER]);
    return new Maloja(folder);
  }

  /** Into a database of its own. */
  async import(file: string): Promise<Outcome> {
    this.#homes += 1;
    const home = path.join(this.folder, `maloja-${this.#homes}`);
    await mkdir(home);
    const program = (name: string): string => path.join(this.folder, "venv", "bin", name);
    const timed = await output(program("python"), ["-c", TIMED, program("maloja"), "import", file], {
      MALOJA_DATA_DIRECTORY: home,
      MALOJA_SKIP_SETUP: "yes",
    });
    const [code, seconds, cpuSeconds] = timed.trim().split(" ").map(Number);
    if (code !== 0) throw new Error(`maloja import ended with ${code}`);
    const stored = await output(program("python"), ["-c", COUNT, path.join(home, "malojadb.sqlite")]);
    return { seconds: seconds!, cpuSeconds: cpuSeconds!, said: `${stored.trim()} stored` };
  }

  async startSeconds(): Promise<number> {
    const folder = path.join(this.folder, "empty");
    await mkdir(folder);
    const file = path.join(folder, FILENAME);
    await writeFile(file, "[]");
    return median(
      [await this.import(file), await this.import(file), await this.import(file)].map((o) => o.seconds),
    );
  }
}

function madeUp(): string {
  return JSON.stringify([...listenerRecords({ rows: MADE_UP_ROWS })]);
}

/** What a program prints; rejects with all it said when it fails. */
function output(program: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    let complaint = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(said);
      else reject(new Error(`${program} ended with ${code}: ${complaint || said}`));
    });
  });
}
