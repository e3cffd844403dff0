/** Metrics as Prometheus would see them: fetched from the port of a process, and read out of the text. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class Scrape {
  readonly samples: readonly Sample[];

  constructor(readonly text: string) {
    this.samples = text.split("\n").flatMap((line) => readSample(line) ?? []);
  }

  /** Names of everything there is a value of, and of every metric that is only described so far. */
  get names(): ReadonlySet<string> {
    const described = [...this.text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = "", type]) =>
      type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
    );
    return new Set([...this.samples.map(({ name }) => name), ...described]);
  }

  /** Sum of the samples with this name and, among others, these labels; undefined when there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const wanted = Object.entries(labels);
    const found = this.samples.filter(
      (sample) => sample.name === name && wanted.every(([key, value]) => sample.labels[key] === value),
    );
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  /** Samples by the given label: `{ inserted: 3, ... }`, without zeroes. */
  by(label: string, name: string, labels: Readonly<Record<string, string>> = {}): Record<string, number> {
    const keys = new Set(
      this.samples.flatMap((sample) => (sample.name === name ? (sample.labels[label] ?? []) : [])),
    );
    const sums = [...keys].map((key) => [key, this.value(name, { ...labels, [label]: key }) ?? 0] as const);
    return Object.fromEntries(sums.filter(([, sum]) => sum !== 0));
  }
}

export async function scrape(port: number): Promise<Scrape> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  if (response.status !== 200) throw new Error(`/metrics answered ${response.status}`);
  return new Scrape(await response.text());
}

function readSample(line: string): Sample | undefined {
  const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (match === null) return undefined;
  const [, name = "", list = "", value] = match;
  const labels = [...list.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = "", text = ""]) => [
    key,
    text,
  ]);
  return { name, labels: Object.fromEntries(labels) as Record<string, string>, value: Number(value) };
}
