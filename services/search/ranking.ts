/** How good a candidate is. From 0 to 1: mostly how well it fits, the rest how popular it is. */
import type { Candidate } from "../../db/queries/search.js";
import { repairable, slipsBetween, slipsIn } from "./spelling.js";
import type { Query, Term } from "./words.js";

/** How the words of a query were taken: as typed, with slips repaired, or with one of them left out. */
export const READINGS = ["typed", "repaired", "partial"] as const;
export type Reading = (typeof READINGS)[number];

const FIT_SHARE = 0.7;
/**
 * namesake: the name is the query. same: but for spaces or slips. begins: the name goes on. within: all words are in the
 * name, the better the fewer others it has. elsewhere: some are, the rest are the artist's or former names.
 */
const FITS = {
  namesake: 1,
  same: 0.95,
  begins: 0.9,
  within: { least: 0.55, most: 0.85 },
  elsewhere: { least: 0.35, words: 0.1, name: 0.1 },
} as const;
/** What a document loses that does not have the words as they were typed. */
const DISCOUNT: Readonly<Record<Reading, number>> = { typed: 1, repaired: 0.8, partial: 0.5 };
/** Logarithm of the plays at which half of what popularity can give is given: e to the sixth, some 400. */
const HALFWAY = 6;

/** Four decimals: what clients see is what the order is made of. */
export function scoreOf(query: Query, candidate: Candidate, reading: Reading): number {
  const { name, asTyped } = candidate;
  const fit = fitOf(query, name, !asTyped) * (asTyped ? 1 : DISCOUNT[reading]);
  const plays = Math.log1p(Math.max(0, candidate.popularity));
  const score = FIT_SHARE * fit + (1 - FIT_SHARE) * (plays / (plays + HALFWAY));
  return Math.round(score * 10_000) / 10_000;
}

/** @param forgiving whether a word may have been meant that is written otherwise */
function fitOf({ name: wanted, terms }: Query, name: string, forgiving: boolean): number {
  if (name === wanted) return FITS.namesake;
  if (name.replaceAll(" ", "") === wanted.replaceAll(" ", "")) return FITS.same;
  if (name.startsWith(wanted)) return FITS.begins;
  const words = name.split(" ");
  const there = terms.filter((term, index) =>
    isIn(term, words, index === terms.length - 1, forgiving),
  ).length;
  const covered = Math.min(1, there / words.length);
  if (there === terms.length) {
    if (forgiving && covered === 1) return FITS.same;
    return FITS.within.least + (FITS.within.most - FITS.within.least) * covered;
  }
  const { least, words: ofWords, name: ofName } = FITS.elsewhere;
  return least + ofWords * (there / terms.length) + ofName * covered;
}

function isIn(term: Term, words: readonly string[], last: boolean, forgiving: boolean): boolean {
  if (term.kind === "run") {
    const whole = term.characters.join("");
    return words.some((word) => word.includes(whole));
  }
  const { text } = term;
  if (words.some((word) => word === text || (last && word.startsWith(text)))) return true;
  if (!forgiving || !repairable(text)) return false;
  const most = slipsIn(text);
  return words.some((word) => slipsBetween(text, word, most) <= most);
}
