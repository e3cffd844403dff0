/**
 * `npm run bench -- import-large [rows] [tracks] [rows of the small one]`
 *
 * Does the cost of an import grow with its rows, and no faster? An archive of 5,000,000 records (3 GB unpacked, written to
 * disk and never in memory) goes through the whole product, and before and after it one of 250,000, in files of the same
 * length, in the same run. The large one draws from five times as many tracks. Last, the small archive of another listener
 * is imported on top of all that. While the large one runs, a line tells of each million rows (of each tenth, where it has
 * fewer): a run that is ended early has said something, and whatever grows with the rows shows.
 */
import path from "node:path";
import { writeListenerArchive } from "./support/largeArchive.js";
import { cpuOf, measure, residentMb } from "./support/meter.js";
import type { Cost } from "./support/meter.js";
import type { Job } from "./support/client.js";
import { startProduct } from "./support/product.js";
import type { Product } from "./support/product.js";
import { scratchFolder } from "./support/scratch.js";
import { ratio } from "./support/statistics.js";

const PART_ROWS = 20_000;
const GOAL = 0.8;

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rows = Number(args[0] ?? 5_000_000);
  const tracks = Number(args[1] ?? 300_000);
  const smallRows = Number(args[2] ?? 250_000);
  const folder = scratchFolder();
  const product = await startProduct();
  try {
    const make = async (name: string, options: { rows: number; seed: number; tracks?: number }) => {
      const file = path.join(folder.path, name);
      const made = await writeListenerArchive(file, { ...options, partRows: PART_ROWS });
      console.log(
        `${name}: ${options.rows.toLocaleString("en")} records in ${made.parts} files, ` +
          `${(made.bytes / 1e6).toFixed(0)} MB as ZIP, ${(made.unpackedBytes / 1e6).toFixed(0)} MB unpacked`,
      );
      return { file, rows: options.rows };
    };
    const small = await make("small.zip", { rows: smallRows, seed: 1 });
    const other = await make("other.zip", { rows: smallRows, seed: 2 });
    const large = await make("large.zip", { rows, seed: 3, tracks });

    const runs: [string, number, Cost][] = [];
    const time = async (
      name: string,
      archive: { file: string; rows: number },
      seen?: (job: Job) => Promise<void>,
    ): Promise<Cost> => {
      const cost = await timeImport(product, archive, seen);
      runs.push([name, archive.rows, cost]);
      return cost;
    };
    await product.empty();
    const before = await time("small, empty database", small);
    await product.empty();
    const bare = await databaseBytes(product);
    const main = await time("large, empty database", large, tellOnTheWay(product, rows));
    const full = await databaseBytes(product);
    await time("small, on top of it", other);
    await product.empty();
    const after = await time("small, empty database again", small);

    table(runs);
    const smallRate = smallRows / ((before.seconds + after.seconds) / 2);
    console.log(`
large / small: ${ratio(rows / main.seconds / smallRate)}, goal ${GOAL}
database: ${((full - bare) / rows).toFixed(0)} MB for each million plays, indexes, catalogue and ledger included`);
  } finally {
    await product.stop();
    folder.remove();
  }
}

async function timeImport(
  product: Product,
  archive: { readonly file: string; readonly rows: number },
  seen?: (job: Job) => Promise<void>,
): Promise<Cost> {
  const { admin, client, worker, api } = product;
  const watched = { worker: worker.pid, api: api.pid, admin };
  await product.quiet();
  await admin.query("checkpoint");
  return measure(watched, () =>
    client.import(archive.file, { inserted: archive.rows, duplicate: 0 }, 500, seen),
  );
}

const TOLD_EACH = 1_000_000;
const LEAST_TOLD = 10;

/** Prints what the last million rows cost, as soon as they are in. */
function tellOnTheWay(product: Product, rows: number): (job: Job) => Promise<void> {
  const each = Math.min(TOLD_EACH, Math.ceil(rows / LEAST_TOLD));
  const { admin, worker, api } = product;
  const now = async (read: number) => ({
    read,
    at: performance.now(),
    cpu: await cpuOf({ worker: worker.pid, api: api.pid, admin }),
  });
  let last: Awaited<ReturnType<typeof now>> | undefined;
  return async ({ counts: { read } }) => {
    last ??= await now(read);
    if (read - last.read < each) return;
    const next = await now(read);
    const some = read - last.read;
    const us = (program: "worker" | "postgres"): string =>
      (((next.cpu[program] - last!.cpu[program]) / some) * 1e6).toFixed(1);
    const bytes = await databaseBytes(product);
    console.log(
      `  ${read.toLocaleString("en")} rows: ${Math.round((some / (next.at - last.at)) * 1000).toLocaleString("en")}/s, ` +
        `worker ${us("worker")} us a row and ${(await residentMb(worker.pid)).toFixed(0)} MB, PostgreSQL ${us("postgres")} us a row, ` +
        `api ${(await residentMb(api.pid)).toFixed(0)} MB, database ${(bytes / 1e6).toFixed(0)} MB`,
    );
    last = next;
  };
}

async function databaseBytes({ admin }: Product): Promise<number> {
  const { rows } = await admin.query<{ bytes: string }>(
    "select pg_database_size(current_database())::text as bytes",
  );
  return Number(rows[0]!.bytes);
}

function table(runs: readonly (readonly [string, number, Cost])[]): void {
  console.log(`
| import | rows/s | worker CPU us/row | PostgreSQL CPU us/row | worker peak MB | api peak MB |
| --- | ---: | ---: | ---: | ---: | ---: |`);
  for (const [name, rows, { seconds, cpu, peakMb }] of runs) {
    const us = (value: number): string => ((value / rows) * 1e6).toFixed(1);
    console.log(
      `| ${name} | ${Math.round(rows / seconds).toLocaleString("en")} | ${us(cpu.worker)} | ${us(cpu.postgres)} ` +
        `| ${peakMb.worker.toFixed(0)} | ${peakMb.api.toFixed(0)} |`,
    );
  }
}
