/**
 * `npm run bench -- import-formats [Apple rows] [Takeout entries] [rounds] [formats]`
 *
 * The other large exports through the whole product, against a server-side COPY of exactly the rows that came of them, in
 * the same run: Apple Music's Play Activity of 300,000 rows and 134 columns, beside the library and the Daily Tracks in which
 * its artists are looked up (so that it is read twice), and Google's Takeout of 100,000 entries, as JSON and as a page. The
 * catalogue is empty each time. Formats: `apple,json,html` or some of them.
 */
import path from "node:path";
import { copyAgain } from "./support/copyFloor.js";
import type { LargeArchive } from "./support/largeArchive.js";
import { measure } from "./support/meter.js";
import type { Cost } from "./support/meter.js";
import { writeAppleArchive, writeTakeoutHtml, writeTakeoutJson } from "./support/otherExports.js";
import type { Job } from "./support/client.js";
import { type Product, startProduct } from "./support/product.js";
import { scratchFolder } from "./support/scratch.js";
import { median, ratio } from "./support/statistics.js";

interface Export {
  readonly title: string;
  readonly write: (file: string, rows: number) => Promise<LargeArchive>;
  readonly of: "apple" | "takeout";
}

const EXPORTS: Readonly<Record<string, Export>> = {
  apple: { title: "Apple Play Activity", write: writeAppleArchive, of: "apple" },
  json: { title: "Takeout, JSON", write: writeTakeoutJson, of: "takeout" },
  html: { title: "Takeout, page", write: writeTakeoutHtml, of: "takeout" },
};

interface Round {
  readonly imported: Cost;
  readonly copied: Cost;
  readonly counts: Job["counts"];
}

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rows = { apple: Number(args[0] ?? 300_000), takeout: Number(args[1] ?? 100_000) };
  const rounds = Number(args[2] ?? 3);
  const names = (args[3] ?? Object.keys(EXPORTS).join(",")).split(",");
  const folder = scratchFolder();
  const product = await startProduct();
  try {
    const files = new Map<string, string>();
    for (const name of names) {
      const wanted = EXPORTS[name];
      if (wanted === undefined)
        throw new Error(`There is no format ${name}: ${Object.keys(EXPORTS).join(", ")}`);
      const file = path.join(folder.path, `${name}.zip`);
      const made = await wanted.write(file, rows[wanted.of]);
      const [packed, unpacked] = [made.bytes, made.unpackedBytes].map((bytes) => (bytes / 1e6).toFixed(0));
      console.log(`${wanted.title}: ${packed} MB as ZIP, ${unpacked} MB unpacked`);
      files.set(name, file);
    }
    const results = new Map<string, Round[]>(names.map((name) => [name, []]));
    for (let round = 1; round <= rounds; round += 1) {
      for (const [name, file] of files) {
        const measured = await measureRound(product, file);
        results.get(name)!.push(measured);
        console.log(
          `round ${round}, ${name}: ${rate(measured)} records/s, ${ratio(ofCopy(measured))} of COPY`,
        );
      }
    }
    report(results);
  } finally {
    await product.stop();
    folder.remove();
  }
}

async function measureRound(product: Product, file: string): Promise<Round> {
  const { admin, client } = product;
  const watched = { worker: product.worker.pid, api: product.api.pid, admin };
  const time = async (work: () => Promise<unknown>): Promise<Cost> => {
    await product.quiet();
    await admin.query("checkpoint");
    return measure(watched, work);
  };
  await product.empty();
  let job: Job | undefined;
  const imported = await time(async () => (job = await client.importAny(file, "export.zip")));
  const counts = job!.counts;
  const { read, inserted, duplicate, skipped, rejected } = counts;
  if (job!.status !== "completed" || rejected > 0 || read !== inserted + duplicate + skipped)
    throw new Error(`the import went wrong: ${JSON.stringify(job)}`);
  const copied = await copyAgain(admin, time);
  return { imported, copied, counts };
}

function report(results: ReadonlyMap<string, readonly Round[]>): void {
  console.log(`
medians; CPU in us a record
| export | records | plays | records/s | of COPY (least-most) | worker CPU | PostgreSQL CPU | worker peak MB | api peak MB |
| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |`);
  for (const [name, rounds] of results) {
    const { read, inserted } = rounds[0]!.counts;
    const middle = (pick: (cost: Cost) => number): number =>
      median(rounds.map(({ imported }) => pick(imported)));
    const us = (seconds: number): string => ((seconds / read) * 1e6).toFixed(1);
    const shares = rounds.map(ofCopy);
    console.log(
      `| ${EXPORTS[name]!.title} | ${read.toLocaleString("en")} | ${inserted.toLocaleString("en")} ` +
        `| ${Math.round(read / middle(({ seconds }) => seconds)).toLocaleString("en")} ` +
        `| **${ratio(median(shares))}** (${ratio(Math.min(...shares))}-${ratio(Math.max(...shares))}) ` +
        `| ${us(middle(({ cpu }) => cpu.worker))} | ${us(middle(({ cpu }) => cpu.postgres))} ` +
        `| ${middle(({ peakMb }) => peakMb.worker).toFixed(0)} | ${middle(({ peakMb }) => peakMb.api).toFixed(0)} |`,
    );
  }
}

const ofCopy = ({ imported, copied }: Round): number => copied.seconds / imported.seconds;
const rate = ({ imported, counts }: Round): string =>
  Math.round(counts.read / imported.seconds).toLocaleString("en");
