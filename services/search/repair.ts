/** What the words of a query may have been meant to be, where they find too little as they are. */
import type pg from "pg";
import { type KnownWord, readKnownWords } from "../../db/queries/search.js";
import {
  allOf,
  type Alternatives,
  anyOf,
  asTyped,
  beginning,
  everyTerm,
  exactly,
  withOneWrong,
} from "./expression.js";
import { farKeys, nearKeys, repairable, slipsBetween, slipsIn } from "./spelling.js";
import type { Query, Term } from "./words.js";

type Client = Pick<pg.ClientBase, "query">;

/** Meanings of one word that are tried: of several words the others decide which of them was meant. */
const MEANINGS = { alone: 5, amongOthers: 12 } as const;
/** In characters: what a word that lost its space is split into. */
const SPLIT_MIN = 2;

export interface Repaired {
  /** For each term, itself first. */
  readonly terms: readonly Alternatives[];
  /** All terms with any of their meanings, or two neighbours written as one word. */
  readonly expression: string;
}

/** Null when no word of the query resembles any other. */
export async function repair(client: Client, query: Query): Promise<Repaired | null> {
  const { terms } = query;
  const words = terms.flatMap((term) => (term.kind === "word" ? [term.text] : []));
  const joins = joinedNeighbours(terms);
  const exact = [...words.flatMap(splits).flat(), ...joins.map(({ word }) => word)];
  const most = words.length > 1 ? MEANINGS.amongOthers : MEANINGS.alone;
  const known = await lookUp(client, words.filter(repairable).flatMap(nearKeys), exact);
  const documents = new Map(known.map((each) => [each.word, each.documents]));
  const meant = new Map(words.map((word) => [word, meanings(word, known, 1, most)]));
  const far = words.filter(
    (word) => repairable(word) && slipsIn(word) === 2 && meant.get(word)?.length === 0,
  );
  if (far.length > 0) {
    const further = [...known, ...(await lookUp(client, far.flatMap(farKeys), []))];
    for (const word of far) meant.set(word, meanings(word, further, 2, most));
  }

  const repaired = terms.map((term, index): Alternatives => {
    const last = index === terms.length - 1;
    const typed = asTyped(term, last);
    if (term.kind === "run") return [typed, ...withOneWrong(term.characters)];
    if (term.kind === "signs") return [typed];
    const others = (meant.get(term.text) ?? []).map((word) => (last ? beginning(word) : exactly(word)));
    return [typed, ...others, ...bestSplit(term.text, documents, last)];
  });
  const joined = joins
    .filter(({ word }) => documents.has(word))
    .map(({ word, at }) => {
      const written = at + 2 === terms.length ? beginning(word) : exactly(word);
      return everyTerm([...repaired.slice(0, at), [written], ...repaired.slice(at + 2)]);
    });
  if (joined.length === 0 && repaired.every(({ length }) => length === 1)) return null;
  return { terms: repaired, expression: anyOf([everyTerm(repaired), ...joined]) };
}

const lookUp = async (
  client: Client,
  keys: readonly number[],
  exact: readonly string[],
): Promise<readonly KnownWord[]> =>
  keys.length + exact.length === 0 ? [] : readKnownWords(client, keys, exact);

/** The most common of the known words that so many slips turn into this one; `known` has them in that order. */
function meanings(word: string, known: readonly KnownWord[], slips: 1 | 2, most: number): readonly string[] {
  if (!repairable(word)) return [];
  const found: string[] = [];
  for (const { word: other } of known) {
    if (found.length === most) break;
    if (slipsBetween(word, other, slips) === slips && !found.includes(other)) found.push(other);
  }
  return found;
}

/** Every way to read a word as two. */
function splits(word: string): readonly (readonly [string, string])[] {
  const characters = [...word];
  const found: [string, string][] = [];
  for (let at = SPLIT_MIN; at <= characters.length - SPLIT_MIN; at += 1) {
    found.push([characters.slice(0, at).join(""), characters.slice(at).join("")]);
  }
  return found;
}

/** The two words of which the rarer is the most common. */
function bestSplit(word: string, documents: ReadonlyMap<string, number>, last: boolean): Alternatives {
  let best: readonly [string, string] | undefined;
  let bestCount = 0;
  for (const pair of splits(word)) {
    const count = Math.min(documents.get(pair[0]) ?? 0, documents.get(pair[1]) ?? 0);
    if (count > bestCount) [best, bestCount] = [pair, count];
  }
  return best === undefined ? [] : [allOf([exactly(best[0]), last ? beginning(best[1]) : exactly(best[1])])];
}

/** Two words next to each other that may be one with a space too many. */
function joinedNeighbours(terms: readonly Term[]): readonly { readonly word: string; readonly at: number }[] {
  return terms.flatMap((term, at) => {
    const next = terms[at + 1];
    return term.kind === "word" && next?.kind === "word" ? [{ word: term.text + next.text, at }] : [];
  });
}
