/** How good a candidate is. From 0 to 1: mostly how well it fits, the rest how popular it is. */
import type { Candidate } from "../../db/queries/search.js";
import type { Query } from "./words.js";

/** How the words of a query were taken: as typed, with slips repaired, or with one of them left out. */
export const READINGS = ["typed", "repaired", "partial"] as const;
export type Reading = (typeof READINGS)[number];

const FIT_SHARE = 0.7;
const FITS = { namesake: 1, begins: 0.9, least: 0.55, covered: 0.3 } as const;
/** What a document loses that does not have the words as they were typed. */
const DISCOUNT: Readonly<Record<Reading, number>> = { typed: 1, repaired: 0.8, partial: 0.5 };
/** Logarithm of the plays at which half of what popularity can give is given: e to the sixth, some 400. */
const HALFWAY = 6;

/** Four decimals: what clients see is what the order is made of. */
export function scoreOf(query: Query, candidate: Candidate, reading: Reading): number {
  const fit = fitOf(query, candidate.name) * (candidate.asTyped ? 1 : DISCOUNT[reading]);
  const plays = Math.log1p(Math.max(0, candidate.popularity));
  const score = FIT_SHARE * fit + (1 - FIT_SHARE) * (plays / (plays + HALFWAY));
  return Math.round(score * 10_000) / 10_000;
}

/** A name that is the query; that begins with it; or that has the words, the better the fewer others it has. */
function fitOf({ name: wanted, terms }: Query, name: string): number {
  if (name === wanted) return FITS.namesake;
  if (name.startsWith(wanted)) return FITS.begins;
  const words = Math.max(1, name.split(" ").length);
  return FITS.least + FITS.covered * Math.min(1, terms.length / Math.max(words, terms.length));
}
