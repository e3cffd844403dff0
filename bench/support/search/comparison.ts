/** Engines asked the same queries in turns. */
import { UnavailableError } from "../../../utils/errors.js";
import { median, percentile, ratio } from "../statistics.js";
import type { Engine } from "./engines.js";
import type { Query } from "./queries.js";

const GOALS = { found: 0.8, ratio: 2 };

/** Asks and prints; the first engine is what the others are measured by. */
export async function compare(
  engines: readonly Engine[],
  queries: readonly Query[],
  rounds: number,
): Promise<void> {
  const ratios: number[][] = engines.map(() => []);
  for (let round = 0; round <= rounds; round += 1) {
    const inRound: number[][] = engines.map(() => []);
    for (const [index, query] of queries.entries()) {
      for (let turn = 0; turn < engines.length; turn += 1) {
        const at = (turn + index + round) % engines.length;
        const engine = engines[at] as Engine;
        const begun = performance.now();
        const rows = await engine.ask(query.text).catch((error: unknown) => {
          if (!(error instanceof UnavailableError)) throw error;
          engine.failed.push(query.text);
          return [];
        });
        const ms = performance.now() - begun;
        if (round === 0) {
          // Not timed: what is on disk comes into memory.
          const hit = rows.some((row) => query.meant.every((word) => row.split(" ").includes(word)));
          if (hit) engine.found[query.slip ? "slip" : "plain"] += 1;
          continue;
        }
        inRound[at]?.push(ms);
        engine.ms.push(ms);
        if (!query.common) engine.rareMs.push(ms);
      }
    }
    if (round === 0) continue;
    const [base] = inRound as [number[], ...number[][]];
    for (const [at, values] of inRound.entries())
      ratios[at]?.push(percentile(values, 0.95) / percentile(base, 0.95));
  }
  report(engines, ratios, queries);
}

function report(engines: readonly Engine[], ratios: readonly number[][], queries: readonly Query[]): void {
  const slips = queries.filter(({ slip }) => slip).length;
  const share = (found: number, of: number): string => `${((100 * found) / of).toFixed(0)} %`;
  console.log(`${queries.length} queries, ${slips} with one slip; ms`);
  for (const [at, { name, ms, found }] of engines.entries()) {
    const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => percentile(ms, q).toFixed(1));
    const spread = ratios[at] as number[];
    console.log(
      `  ${name.padEnd(20)} p50 ${p50} p95 ${p95} p99 ${p99}  p95 / plain ${ratio(median(spread))} ` +
        `(${ratio(Math.min(...spread))}-${ratio(Math.max(...spread))})  found ${share(found.plain, queries.length - slips)}, ` +
        `with a slip ${share(found.slip, slips)}`,
    );
  }
  const rare = queries.filter(({ common }) => !common).length;
  const [plain] = engines as readonly [Engine, ...Engine[]];
  for (const { name, rareMs } of engines) {
    const [p50, p95] = [0.5, 0.95].map((q) => percentile(rareMs, q));
    console.log(
      `  ${name.padEnd(20)} the ${rare} without a common word: p50 ${(p50 as number).toFixed(1)} p95 ${(p95 as number).toFixed(1)}, ` +
        `${ratio((p95 as number) / percentile(plain.rareMs, 0.95))} of plain`,
    );
  }
  for (const { name, failed } of engines)
    if (failed.length > 0)
      console.log(`  ${name}: given up ${failed.length} times: ${[...new Set(failed)].join("; ")}`);
  const playlog = engines[1] as Engine;
  const reached = playlog.found.slip / slips >= GOALS.found && median(ratios[1] as number[]) <= GOALS.ratio;
  console.log(`  goals (>= 80 % of slips found, p95 at most 2x): ${reached ? "reached" : "MISSED"}`);
}
