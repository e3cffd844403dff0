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

/** Of a word that is kept, or looked for: hashes of it and of what is left without one of its letters. */
export function nearKeys(word: string): readonly number[] {
  const keys = new Set([hash(word)]);
  for (let at = 0; at < word.length;) {
    const next = at + (word.codePointAt(at)! > 0xffff ? 2 : 1);
    keys.add(hash(word, at, next));
    at = next;
  }
  return [...keys];
}

/** Of a word that is looked for and has two slips: hashes of what is left without two of its letters. */
export const farKeys = (word: string): readonly number[] => [
  ...new Set(
    withoutOne(word)
      .flatMap(withoutOne)
      .map((rest) => hash(rest)),
  ),
];

/** The least number of slips that lead from one word to the other, each letter touched once; `max + 1` when it is more. */
export function slipsBetween(a: string, b: string, max: number): number {
  if (Math.abs(a.length - b.length) > max) return max + 1;
  let [begin, endA, endB] = [0, a.length, b.length];
  while (begin < endA && begin < endB && a.charCodeAt(begin) === b.charCodeAt(begin)) begin += 1;
  while (endA > begin && endB > begin && a.charCodeAt(endA - 1) === b.charCodeAt(endB - 1))
    [endA, endB] = [endA - 1, endB - 1];
  const least = Math.max(endA, endB) - begin;
  if (Math.min(endA, endB) === begin || least <= 1) return Math.min(least, max + 1);
  return Math.min(differences(a.slice(begin, endA), b.slice(begin, endB)), max + 1);
}

/** Row by row through the table of what each beginning of one word costs to become each beginning of the other. */
function differences(a: string, b: string): number {
  let older: number[] = [];
  let old = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      let least = Math.min(at(old, j) + 1, at(row, j - 1) + 1, at(old, j - 1) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, at(older, j - 2) + 1);
      row.push(least);
    }
    [older, old] = [old, row];
  }
  return at(old, b.length);
}

const at = (row: readonly number[], index: number): number => row[index] as number;

const lengthOf = (word: string): number => (/^[\x20-\x7e]*$/.test(word) ? word.length : [...word].length);

function withoutOne(word: string): readonly string[] {
  const characters = [...word];
  return characters.map((_, index) => characters.toSpliced(index, 1).join(""));
}

/**
 * FNV-1a over UTF-16 code units, but for those from `from` to before `until`, as a signed integer of 32 bits. Stored:
 * changing it needs a rebuild.
 */
function hash(word: string, from = word.length, until = word.length): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < from; index += 1) value = Math.imul(value ^ word.charCodeAt(index), 0x01000193);
  for (let index = until; index < word.length; index += 1) {
    value = Math.imul(value ^ word.charCodeAt(index), 0x01000193);
  }
  return value | 0;
}
