/** Queries as PostgreSQL's tsqueries, in text. Everything a person typed is quoted: no sign of theirs is an operator. */
import { pairsOf, type Term } from "./words.js";

/** A term and what it may stand for, as an expression. */
export type Alternatives = readonly string[];

const quoted = (word: string): string => `'${word.replace(/['\\]/g, "$&$&")}'`;

export const exactly = quoted;
export const beginning = (word: string): string => `${quoted(word)}:*`;

export const allOf = (expressions: readonly string[]): string => inBrackets(expressions, " & ");
export const anyOf = (expressions: readonly string[]): string => inBrackets(expressions, " | ");

function inBrackets(expressions: readonly string[], operator: string): string {
  const distinct = [...new Set(expressions)];
  return distinct.length === 1 ? (distinct[0] as string) : `(${distinct.join(operator)})`;
}

/** A term as it was typed. The last word of a query may go on. */
export function asTyped(term: Term, last: boolean): string {
  if (term.kind === "run") return runOf(term.characters);
  return last || term.kind === "signs" ? beginning(term.text) : exactly(term.text);
}

/** One character is found wherever it stands: each begins one of the pairs of a name. */
function runOf(characters: readonly string[]): string {
  const [only = ""] = characters;
  if (characters.length === 1) return beginning(only);
  return allOf(pairsOf(characters).slice(0, -1).map(exactly));
}

/** A run of which one character is wrong, whichever it is; empty for runs that would say nothing then. */
export function withOneWrong(characters: readonly string[]): Alternatives {
  if (characters.length < 3) return [];
  const pairs = pairsOf(characters).slice(0, -1);
  return characters.flatMap((_, wrong) => {
    const rest = pairs.filter((_pair, index) => index !== wrong && index !== wrong - 1);
    return rest.length === 0 ? [] : [allOf(rest.map(exactly))];
  });
}

/** Every term must be there, as one of its alternatives. */
export const everyTerm = (terms: readonly Alternatives[]): string => allOf(terms.map(anyOf));

/** All terms but one, whichever. */
export const allButOne = (terms: readonly Alternatives[]): string =>
  anyOf(terms.map((_, missing) => everyTerm(terms.filter((_term, index) => index !== missing))));
