/**
 * `npm run bench -- import [rows] [rounds]`
 *
 * The whole product against the floor: a ZIP of Spotify records through HTTP, Temporal and the worker to committed rows,
 * and a server-side COPY of exactly those rows into exactly that table, in the same run, round by round. The ratio of
 * the two rates is the figure; both move with the machine, their ratio much less. Three imports a round:
 *
 * - cold: no artist, album or track of the file is known;
 * - again: the same file, every row is there;
 * - warm: the catalogue is there, and in the worker's memory, the history is empty.
 *
 * The search index is kept up to date beside all of them. Between two of them the worker is waited for, so that what is
 * left to do for one (statistics, popularity) does not slow the other.
 */
import { copyAgain } from "./support/copyFloor.js";
import { measure } from "./support/meter.js";
import type { Cost } from "./support/meter.js";
import { startProduct } from "./support/product.js";
import type { Product } from "./support/product.js";
import { listenerArchive } from "./support/spotifyArchive.js";
import { median, ratio } from "./support/statistics.js";

const PARTS = 13;
const KINDS = ["cold", "copy", "warm", "again"] as const;
type Kind = (typeof KINDS)[number];
/** `findable`: seconds from the end of the cold import until the search finds all of its names. */
type Round = Readonly<Record<Kind, Cost> & { findable: number }>;

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rows = Number(args[0] ?? 250_000);
  const rounds = Number(args[1] ?? 3);
  const product = await startProduct();
  try {
    console.log(`making an archive of ${rows.toLocaleString("en")} records`);
    const archive = listenerArchive({ rows, parts: PARTS });
    console.log(`${(archive.length / 1e6).toFixed(1)} MB as ZIP; ${rounds} rounds`);
    const results: Round[] = [];
    for (let round = 1; round <= rounds; round++) {
      const costs = await measureRound(product, archive, rows);
      results.push(costs);
      const rates = KINDS.map((kind) => `${kind} ${rate(rows, costs[kind])}`).join(", ");
      console.log(`round ${round}, rows/s: ${rates}; cold / COPY ${ratio(against(costs, "cold", "copy"))}`);
    }
    report(results, rows);
  } finally {
    await product.stop();
  }
}

async function measureRound(product: Product, archive: Buffer, rows: number): Promise<Round> {
  const { admin, client } = product;
  const watched = { worker: product.worker.pid, api: product.api.pid, admin };
  const time = async (work: () => Promise<unknown>): Promise<Cost> => {
    await product.quiet();
    await admin.query("checkpoint");
    return measure(watched, work);
  };
  const all = { inserted: rows, duplicate: 0 };
  await product.empty();
  const cold = await time(() => client.import(archive, all));
  const findable = await product.quiet();
  const again = await time(() => client.import(archive, { inserted: 0, duplicate: rows }));

  const copy = await copyAgain(admin, time);
  const warm = await time(() => client.import(archive, all));
  return { cold, copy, warm, again, findable };
}

function report(results: readonly Round[], rows: number): void {
  const middle = (kind: Kind, pick: (cost: Cost) => number): number =>
    median(results.map((round) => pick(round[kind])));
  console.log(`
medians of ${results.length} rounds; CPU in us a row
| import | rows/s | of COPY (least-most) | worker CPU | PostgreSQL CPU | api CPU | Temporal CPU | worker peak MB | api peak MB |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |`);
  for (const kind of KINDS) {
    const cpu = (name: keyof Cost["cpu"]): string => us(middle(kind, (cost) => cost.cpu[name] / rows));
    const shares = results.map((round) => against(round, kind, "copy"));
    const share = `**${ratio(median(shares))}** (${ratio(Math.min(...shares))}-${ratio(Math.max(...shares))})`;
    console.log(
      `| ${kind} | ${Math.round(rows / middle(kind, (cost) => cost.seconds)).toLocaleString("en")} | ${share} ` +
        `| ${cpu("worker")} | ${cpu("postgres")} | ${cpu("api")} | ${cpu("temporal")} ` +
        `| ${middle(kind, (cost) => cost.peakMb.worker).toFixed(0)} | ${middle(kind, (cost) => cost.peakMb.api).toFixed(0)} |`,
    );
  }
  const again = median(results.map((round) => against(round, "again", "cold")));
  console.log(`
goals: cold / COPY >= 0.60, warm / COPY >= 0.90, again / cold ${ratio(again)} (>= 1.80), worker below 400 MB
all names of the cold import could be found ${Math.max(...results.map(({ findable }) => findable)).toFixed(1)} s after its end at the latest (<= 10)`);
}

/** How many times as fast `kind` is as `other` in the same round. */
const against = (round: Round, kind: Kind, other: Kind): number => round[other].seconds / round[kind].seconds;

const rate = (rows: number, cost: Cost): string => Math.round(rows / cost.seconds).toLocaleString("en");
const us = (seconds: number): string => (Number.isNaN(seconds) ? "-" : (seconds * 1e6).toFixed(1));
