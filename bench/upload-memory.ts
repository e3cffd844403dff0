/**
 * `npm run bench -- upload-memory [megabytes]`
 *
 * What receiving a large upload costs the api: its peak memory and how long its event loop was away (99th percentile),
 * for a raw body and for a form, 1 GB each, sent as fast as the loopback takes them. The bytes are noise, so the import
 * itself ends at once.
 */
import path from "node:path";
import { writeNoise } from "./support/largeArchive.js";
import { measure } from "./support/meter.js";
import type { Envelope } from "./support/client.js";
import { startProduct } from "./support/product.js";
import type { Product } from "./support/product.js";
import { scratchFolder } from "./support/scratch.js";

const GOAL_MB = 250;
const LAG_P99 = "nodejs_eventloop_lag_p99_seconds";
const BOUNDARY = "playlog-bench-boundary";
const FORM: Envelope = {
  before: Buffer.from(
    `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="noise.zip"\r\n` +
      "Content-Type: application/zip\r\n\r\n",
  ),
  after: Buffer.from(`\r\n--${BOUNDARY}--\r\n`),
};

/** Runs the benchmark against the servers named in the environment and prints its figures. */
export async function run(args: readonly string[]): Promise<void> {
  const megabytes = Number(args[0] ?? 1000);
  const folder = scratchFolder();
  const product = await startProduct();
  try {
    const file = path.join(folder.path, "noise.zip");
    await writeNoise(file, megabytes * 1e6);
    console.log(`
| body of ${megabytes} MB | MB/s | api peak MB | api CPU ms for each MB | event loop away, p99 ms |
| --- | ---: | ---: | ---: | ---: |`);
    await receive(product, "raw", megabytes, () =>
      product.client.upload(file, "/api/v1/imports?filename=noise.zip", "application/octet-stream"),
    );
    await receive(product, "form", megabytes, () =>
      product.client.upload(file, "/api/v1/imports", `multipart/form-data; boundary=${BOUNDARY}`, FORM),
    );
    console.log(`goal: below ${GOAL_MB} MB`);
  } finally {
    await product.stop();
    folder.remove();
  }
}

async function receive(
  { api, worker, admin, apiMetric }: Product,
  name: string,
  megabytes: number,
  upload: () => Promise<unknown>,
): Promise<void> {
  await apiMetric(LAG_P99); // asking empties its window
  const { seconds, cpu, peakMb } = await measure({ worker: worker.pid, api: api.pid, admin }, upload);
  const away = (await apiMetric(LAG_P99)) * 1000;
  console.log(
    `| ${name} | ${(megabytes / seconds).toFixed(0)} | ${peakMb.api.toFixed(0)} ` +
      `| ${((cpu.api / megabytes) * 1000).toFixed(1)} | ${away.toFixed(1)} |`,
  );
}
