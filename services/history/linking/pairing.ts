/** Pairs two rows of things that are in the order of time, one to one. */

/** A pair that may be made: the row-th of the one with the column-th of the other, both from 0. */
export interface Pair {
  readonly row: number;
  readonly column: number;
  /** The less the better; not negative. */
  readonly cost: number;
  /** Decides between equals; depends on nothing but what is paired. */
  readonly tie: number;
}

/** The best way to pair what comes before, with `pair` as its last; a list from the end. */
interface Chain {
  readonly pair: Pair;
  readonly before: Chain | null;
  readonly count: number;
  readonly cost: number;
  readonly tie: number;
}

/** Rows and columns that cross each other more often are nothing that happens by pausing. */
const ROUNDS = 8;

/**
 * Pairs as `inTimeOrder` chooses them, and then again among those that it left: a play that was paused for hours began
 * before others and ended after them, so which of two comes first depends on who tells it.
 */
export function pairUp(pairs: readonly Pair[], columns: number): Pair[] {
  const chosen: Pair[] = [];
  let left = pairs;
  for (let round = 0; round < ROUNDS && left.length > 0; round += 1) {
    const found = inTimeOrder(left, columns);
    chosen.push(...found);
    const rows = new Set(found.map(({ row }) => row));
    const taken = new Set(found.map(({ column }) => column));
    left = left.filter(({ row, column }) => !rows.has(row) && !taken.has(column));
  }
  return chosen;
}

/**
 * Of all ways to choose pairs that neither share a side nor cross (a later row has a later column), the one with most
 * pairs; of those the least sum of costs; of those the least sum of ties. `pairs` come in the order of their rows. The
 * choice depends on the chosen alone: taking away a pair that was not chosen changes nothing.
 */
function inTimeOrder(pairs: readonly Pair[], columns: number): Pair[] {
  const best = new BestByColumn(columns);
  for (let from = 0; from < pairs.length;) {
    const { row } = pairs[from]!;
    let to = from;
    const chains: Chain[] = [];
    for (; to < pairs.length && pairs[to]!.row === row; to += 1)
      chains.push(append(best.before(pairs[to]!.column), pairs[to]!));
    for (const chain of chains) best.add(chain);
    from = to;
  }
  const chosen: Pair[] = [];
  for (let chain = best.before(columns); chain !== null; chain = chain.before) chosen.push(chain.pair);
  return chosen.reverse();
}

function append(before: Chain | null, pair: Pair): Chain {
  return {
    pair,
    before,
    count: (before?.count ?? 0) + 1,
    cost: (before?.cost ?? 0) + pair.cost,
    tie: (before?.tie ?? 0) + pair.tie,
  };
}

const isBetter = (a: Chain, b: Chain | null): boolean =>
  b === null || a.count > b.count || (a.count === b.count && isCheaper(a, b));

const isCheaper = (a: Chain, b: Chain): boolean => a.cost < b.cost || (a.cost === b.cost && a.tie < b.tie);

/** The best chain that ends before a column: a Fenwick tree, in which each node has the best of the columns it covers. */
class BestByColumn {
  readonly #nodes: (Chain | null)[];

  constructor(columns: number) {
    this.#nodes = new Array<Chain | null>(columns + 1).fill(null);
  }

  add(chain: Chain): void {
    for (let node = chain.pair.column + 1; node < this.#nodes.length; node += node & -node)
      if (isBetter(chain, this.#nodes[node]!)) this.#nodes[node] = chain;
  }

  /** Among columns less than `column`. */
  before(column: number): Chain | null {
    let best: Chain | null = null;
    for (let node = column; node > 0; node -= node & -node) {
      const here = this.#nodes[node]!;
      if (here !== null && isBetter(here, best)) best = here;
    }
    return best;
  }
}
