/**
 * Which known words a misspelt one may stand for. Two words that one slip keeps apart (a letter too many, too few, another
 * one, or two that changed places) are equal after one letter is taken from one or both of them. So each known word is
 * kept with hashes of itself without each letter, and a query's word is looked up by its own: an index finds the common ones.
 */

/** In characters. Shorter words are near to everything, longer ones are no words. */
const REPAIRABLE = { min: 3, max: 32 } as const;
/** From this length on a word may have two slips. */
const TWO_SLIPS_FROM = 8;

const LETTER = /\p{L}/u;
const SPACELESS_START =
  /^[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]/u;

/** Whether slips in this word can be repaired: it has letters, in a script with spaces. */
export function repairable(word: string): boolean {
  const length = lengthOf(word);
  return (
    length >= REPAIRABLE.min && length <= REPAIRABLE.max && LETTER.test(word) && !SPACELESS_START.test(word)
  );
}

/** How many slips a word may have and still be understood. */
export const slipsIn = (word: string): 1 | 2 => (lengthOf(word) >= TWO_SLIPS_FROM ? 2 : 1);

/** Of a word that is kept: hashes of it and of what is left without one of its letters. */
export const nearKeys = (word: string): readonly number[] => keysOf([word, ...withoutOne(word)]);

/** Of a word that is looked for: the same, and without two of its letters where it may have two slips. */
export function queryKeys(word: string): readonly number[] {
  const shorter = withoutOne(word);
  if (slipsIn(word) === 1) return keysOf([word, ...shorter]);
  return keysOf([word, ...shorter, ...shorter.flatMap(withoutOne)]);
}

/** The least number of slips that lead from one word to the other, each letter touched once; `max + 1` when it is more. */
export function slipsBetween(a: string, b: string, max: number): number {
  const [from, to] = [[...a], [...b]];
  if (Math.abs(from.length - to.length) > max) return max + 1;
  let older: number[] = [];
  let old = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const same = from[i - 1] === to[j - 1];
      let least = Math.min(at(old, j) + 1, at(row, j - 1) + 1, at(old, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        least = Math.min(least, at(older, j - 2) + 1);
      row.push(least);
    }
    [older, old] = [old, row];
  }
  return Math.min(at(old, to.length), max + 1);
}

const at = (row: readonly number[], index: number): number => row[index] as number;

const lengthOf = (word: string): number => (/^[\x20-\x7e]*$/.test(word) ? word.length : [...word].length);

function withoutOne(word: string): readonly string[] {
  const characters = [...word];
  return characters.map((_, index) => characters.toSpliced(index, 1).join(""));
}

const keysOf = (words: readonly string[]): readonly number[] => [...new Set(words.map(hash))];

/** FNV-1a over UTF-16 code units, as a signed integer of 32 bits. Stored: changing it needs a rebuild. */
function hash(word: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < word.length; index += 1) {
    value = Math.imul(value ^ word.charCodeAt(index), 0x01000193);
  }
  return value | 0;
}
