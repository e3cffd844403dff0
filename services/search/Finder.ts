/** One search, as a walk through the results in their order; see SearchService.ts for what that is. */
import type pg from "pg";
import type { CatalogueEntity } from "../../db/models/enums.js";
import { type Candidate, type CandidatePosition, readCandidates } from "../../db/queries/search.js";
import { allButOne, asTyped, everyTerm } from "./expression.js";
import { type Reading, READINGS, scoreOf } from "./ranking.js";
import { repair } from "./repair.js";
import type { Query } from "./words.js";

/** Candidates that are ranked together. */
export const RUN = 200;
/** Documents of exactly this name that come before all others. */
export const NAMESAKES = 50;
/** A reading that finds fewer is not the last that is tried. */
const ENOUGH = 3;
/** After this no other reading is begun. */
const READING_MS = 500;

export interface Place {
  readonly reading: Reading;
  /** Results of the run that were given already. */
  readonly offset: number;
  /** The last candidate of the run before; absent in the first one. */
  readonly after?: CandidatePosition;
}

interface Run {
  readonly hits: readonly Hit[];
  /** Where the next one begins; null when there is none. */
  readonly next: CandidatePosition | null;
}

export type Hit = Candidate & { readonly score: number };

export interface Found {
  readonly hits: readonly Hit[];
  /** In which the hits were found. */
  readonly reading: Reading;
  readonly next: Place | null;
}

/** The expressions of its readings are made when they are needed. */
export class Finder {
  readonly #client: pg.ClientBase;
  readonly #query: Query;
  readonly #entities: readonly CatalogueEntity[];
  readonly #typed: string;
  readonly #begun = performance.now();
  #repaired: ReturnType<typeof repair> | undefined;

  constructor(client: pg.ClientBase, query: Query, entities: readonly CatalogueEntity[]) {
    this.#client = client;
    this.#query = query;
    this.#entities = entities;
    this.#typed = everyTerm(
      query.terms.map((term, index) => [asTyped(term, index === query.terms.length - 1)]),
    );
  }

  async page(limit: number, from: Place | undefined): Promise<Found> {
    const { reading, run: first } = from === undefined ? await this.#bestReading() : await this.#runAt(from);
    let { offset, after } = from ?? { offset: 0, after: undefined };
    let run = first;
    const hits: Hit[] = [];
    for (;;) {
      const taken = run.hits.slice(offset, offset + limit - hits.length);
      hits.push(...taken);
      offset += taken.length;
      if (offset < run.hits.length) {
        return { hits, reading, next: { reading, offset, ...(after === undefined ? {} : { after }) } };
      }
      if (run.next === null) return { hits, reading, next: null };
      [after, offset] = [run.next, 0];
      if (hits.length === limit) return { hits, reading, next: { reading, offset, after } };
      run = await this.#run(reading, await this.#expression(reading), after);
    }
  }

  /** The first reading that finds enough, or else the one that finds most. */
  async #bestReading(): Promise<{ reading: Reading; run: Run }> {
    let best: { reading: Reading; run: Run } = { reading: "typed", run: { hits: [], next: null } };
    for (const reading of READINGS) {
      if (reading === "partial" && best.run.hits.length > 0) break;
      if (performance.now() - this.#begun > READING_MS) break;
      const expression = await this.#expression(reading);
      if (expression === null) continue;
      const run = await this.#run(reading, expression, undefined);
      if (run.hits.length > best.run.hits.length) best = { reading, run };
      if (best.run.hits.length >= ENOUGH) break;
    }
    return best;
  }

  async #runAt({ reading, after }: Place): Promise<{ reading: Reading; run: Run }> {
    return { reading, run: await this.#run(reading, await this.#expression(reading), after) };
  }

  /** Null when this reading is no other than those before it. */
  async #expression(reading: Reading): Promise<string | null> {
    if (reading === "typed") return this.#typed;
    const repaired = await (this.#repaired ??= repair(this.#client, this.#query));
    if (reading === "repaired") return repaired?.expression ?? null;
    const { terms } = this.#query;
    if (terms.length < 2) return null;
    return allButOne(
      repaired?.terms ?? terms.map((term, index) => [asTyped(term, index === terms.length - 1)]),
    );
  }

  async #run(
    reading: Reading,
    expression: string | null,
    after: CandidatePosition | undefined,
  ): Promise<Run> {
    if (expression === null) return { hits: [], next: null };
    const { namesakes, fitting } = await readCandidates(this.#client, {
      expression,
      typed: this.#typed,
      name: this.#query.name,
      entities: this.#entities,
      limit: RUN + 1,
      namesakes: NAMESAKES,
      ...(after === undefined ? {} : { after }),
    });
    const first = new Set(namesakes.map(keyOf));
    const others = fitting.slice(0, RUN).filter((candidate) => !first.has(keyOf(candidate)));
    const last = fitting[RUN - 1];
    return {
      hits: [...(after === undefined ? namesakes : []), ...others]
        .map((candidate) => ({ ...candidate, score: scoreOf(this.#query, candidate, reading) }))
        .sort(byScore),
      next: fitting.length <= RUN || last === undefined ? null : last,
    };
  }
}

const keyOf = ({ entity, id }: CandidatePosition): string => `${entity} ${id}`;

const byScore = (a: Hit, b: Hit): number =>
  b.score - a.score || b.popularity - a.popularity || b.id - a.id || (a.entity < b.entity ? -1 : 1);
