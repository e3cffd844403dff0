/**
 * `npm run bench -- api-under-import [rows] [idle seconds]`
 *
 * How a reader fares while somebody else imports: pages of the history are asked for at a steady pace before, during and
 * after an import of 1,000,000 records, each in its own turn, and their times compared. `first` is the first page of a
 * history that does not change, which a cache may answer; `deep` a page at another place each time, which none can;
 * `importer` the first page of the one who imports, which changes with every batch.
 */
import { Agent, request as httpRequest } from "node:http";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { writeListenerArchive } from "./support/largeArchive.js";
import { BenchClient } from "./support/client.js";
import { startProduct } from "./support/product.js";
import { random } from "./support/spotifyArchive.js";
import { percentile, ratio } from "./support/statistics.js";
import { scratchFolder } from "./support/scratch.js";

const PACE_MS = 50;
const READER_ROWS = 100_000;
const GOAL = 2;
const LIST = "/api/v1/listening-history";
const PAGES = ["first", "deep", "importer"] as const;
type Page = (typeof PAGES)[number];
type Times = Record<Page, number[]>;

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const rows = Number(args[0] ?? 1_000_000);
  const idleMs = Number(args[1] ?? 30) * 1000;
  const folder = scratchFolder();
  const product = await startProduct();
  try {
    const archive = async (name: string, count: number, seed: number): Promise<string> => {
      const file = path.join(folder.path, name);
      await writeListenerArchive(file, { rows: count, partRows: 20_000, seed });
      return file;
    };
    const reader = await BenchClient.register(product.base, "reader");
    const own = await archive("own.zip", READER_ROWS, 7);
    await reader.import(own, { inserted: READER_ROWS, duplicate: 0 });
    const large = await archive("large.zip", rows, 8);
    const pages = new Pages(product.base, reader, product.client);

    await pages.read(sleep(3000)); // warms up
    const before = await pages.read(sleep(idleMs));
    const importing = product.client.import(large, { inserted: rows, duplicate: 0 }, 500);
    const during = await pages.read(importing);
    await importing;
    const after = await pages.read(sleep(idleMs));
    report({ before, during, after });
  } finally {
    await product.stop();
    folder.remove();
  }
}

/** Asks for pages, one at a time, at a steady pace. */
class Pages {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #next = random(9);

  constructor(
    private readonly base: string,
    private readonly reader: BenchClient,
    private readonly importer: BenchClient,
  ) {}

  /** Milliseconds of each answer until `end` is settled. */
  async read(end: Promise<unknown>): Promise<Times> {
    const times: Times = { first: [], deep: [], importer: [] };
    let over = false;
    const ending = end.then(
      () => (over = true),
      () => (over = true),
    );
    for (let turn = 0; !over; turn += 1) {
      const page = PAGES[turn % PAGES.length]!;
      const token = await (page === "importer" ? this.importer : this.reader).token();
      const begun = performance.now();
      await this.#get(page === "deep" ? this.#place() : `${LIST}?limit=100`, token);
      const took = performance.now() - begun;
      times[page].push(took);
      await sleep(Math.max(0, PACE_MS - took));
    }
    await ending;
    return times;
  }

  #place(): string {
    const until = new Date(Date.UTC(2017, 0, 1) + Math.floor(this.#next() * 6 * 365 * 86_400_000));
    return `${LIST}?limit=100&until=${until.toISOString()}`;
  }

  #get(address: string, token: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      const request = httpRequest(this.base + address, { agent: this.#agent, headers }, (response) => {
        response.resume();
        response.once("error", reject);
        response.once("end", () => {
          if (response.statusCode === 200) resolve();
          else reject(new Error(`${address} answered ${response.statusCode}`));
        });
      });
      request.once("error", reject).end();
    });
  }
}

function report(phases: Readonly<Record<"before" | "during" | "after", Times>>): void {
  const names = ["before", "during", "after"] as const;
  console.log(`
| page | ${names.map((name) => `${name}: n, p50, p99 ms`).join(" | ")} | p99 during / idle |
| --- | --- | --- | --- | ---: |`);
  for (const page of PAGES) {
    const cells = names.map((name) => {
      const times = phases[name][page];
      return `${times.length}, ${percentile(times, 0.5).toFixed(1)}, ${percentile(times, 0.99).toFixed(1)}`;
    });
    const idle = percentile([...phases.before[page], ...phases.after[page]], 0.99);
    const factor = percentile(phases.during[page], 0.99) / idle;
    console.log(`| ${page} | ${cells.join(" | ")} | ${ratio(factor)} |`);
  }
  console.log(`goal: at most ${GOAL} for first and deep`);
}
