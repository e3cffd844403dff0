/** Sides of a comparison that take turns, round after round, and what the rounds say together. */
import { median, ratio } from "../statistics.js";
import type { Measured } from "./programs.js";

/** Every side for a while in each round, each time in another order. */
export async function inTurns<T extends string>(
  rounds: number,
  names: readonly T[],
  measure: (name: T) => Promise<Measured>,
): Promise<Record<T, Measured[]>> {
  // Object.fromEntries forgets which names there are.
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<T, Measured[]>;
  for (let round = 0; round < rounds; round += 1) {
    const turn = names.map((_, index) => names[(index + round) % names.length]!);
    for (const name of turn) results[name].push(await measure(name));
  }
  return results;
}

const middle = (results: readonly Measured[], of: (one: Measured) => number): number =>
  median(results.map(of));

/** Median over the rounds of what `a` has in a round for each of what `b` has in it. */
export const ratios = (
  a: readonly Measured[],
  b: readonly Measured[],
  of: (one: Measured) => number,
): number => median(a.map((one, round) => of(one) / of(b[round]!)));

export const rate = ({ perSecond }: Measured): number => perSecond;
export const cpu = ({ cpuUs }: Measured): number => cpuUs;

export function table(title: string, results: Readonly<Record<string, readonly Measured[]>>): void {
  console.log(
    `\n${title}\n\n| | answers/s | server CPU, us | p50 ms | p99 ms |\n| --- | ---: | ---: | ---: | ---: |`,
  );
  for (const [name, all] of Object.entries(results)) {
    const [perSecond, us] = [middle(all, rate).toFixed(0), middle(all, cpu).toFixed(0)];
    const [p50, p99] = [middle(all, (one) => one.p50).toFixed(2), middle(all, (one) => one.p99).toFixed(2)];
    console.log(`| ${name} | ${perSecond} | ${us} | ${p50} | ${p99} |`);
  }
}

export function verdict(what: string, value: number, bar: number, way: "at least" | "at most"): void {
  const met = way === "at least" ? value >= bar : value <= bar;
  console.log(`${what}: ${ratio(value)} (${way} ${bar}: ${met ? "met" : "MISSED"})`);
}
