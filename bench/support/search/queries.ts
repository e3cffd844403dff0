/** What is searched for: words of tracks, as they are and with one slip. */
import type { MadeCatalogue } from "../catalogueGenerator.js";
import { random } from "../spotifyArchive.js";

const QUERIES = 240;
const TYPO_MIN_LENGTH = 4;
export const LETTERS = "abcdefghijklmnopqrstuvwxyz";

export interface Query {
  readonly text: string;
  readonly meant: readonly string[];
  readonly slip: boolean;
  /** Whether one of its words is among the most common. */
  readonly common: boolean;
}

/** Half of a track that is played, half of any. */
export function makeQueries(made: MadeCatalogue): Query[] {
  const next = random(7);
  const queries: Query[] = [];
  while (queries.length < QUERIES) {
    const index = next() < 0.5 ? made.drawPlayed() : Math.floor(next() * made.titles.length);
    const { title, artist } = made.track(index);
    const words = [...new Set(`${title} ${artist}`.split(" "))];
    const first = Math.floor(next() * words.length);
    const meant = words.slice(first, first + 1 + Math.floor(next() * 3));
    const slip = queries.length % 2 === 1;
    const common = meant.some((word) => made.common.has(word));
    if (!slip) {
      queries.push({ text: meant.join(" "), meant, slip, common });
      continue;
    }
    const long = meant.filter((word) => word.length >= TYPO_MIN_LENGTH);
    const wrong = long[Math.floor(next() * long.length)];
    if (wrong === undefined) continue;
    const text = meant.map((word) => (word === wrong ? misspelt(word, next) : word)).join(" ");
    queries.push({ text, meant, slip, common });
  }
  return queries;
}

function misspelt(word: string, next: () => number): string {
  const letters = [...word];
  const at = Math.floor(next() * letters.length);
  const letter = LETTERS[Math.floor(next() * LETTERS.length)] as string;
  switch (Math.floor(next() * 4)) {
    case 0:
      letters.splice(at, 1);
      break;
    case 1:
      letters.splice(at, 0, letter);
      break;
    case 2:
      letters[at] = letter;
      break;
    default: {
      const other = Math.min(at + 1, letters.length - 1);
      [letters[at], letters[other]] = [letters[other] as string, letters[at] as string];
    }
  }
  const text = letters.join("");
  return text === word ? misspelt(word, next) : text;
}
