/**
 * Names and queries as words. Both are read in the same way, so that whatever one spelling of a name is, the others find
 * it: case, accents, quotes, width and connecting signs do not matter. Scripts that are written without spaces are read as
 * pairs of neighbouring characters, since no word list is at hand that would be right for all of them.
 */
import { nameKey, withoutMarks } from "../catalog/keys.js";

/** What of a query has to be found. */
export type Term =
  /** A word between spaces. */
  | { readonly kind: "word"; readonly text: string }
  /** Neighbouring characters of a script without spaces. */
  | { readonly kind: "run"; readonly characters: readonly string[] }
  /** Signs, of a query that has no letter and no digit. */
  | { readonly kind: "signs"; readonly text: string };

export interface Query {
  readonly terms: readonly Term[];
  /** The query in the form of `plainName`. */
  readonly name: string;
}

/** In characters; longer words are cut, here and there alike. */
const WORD_MAX = 40;
/** Further words of a name or a query are not looked at. */
const NAME_WORDS_MAX = 120;
const QUERY_TERMS_MAX = 12;
const RUN_MAX = 24;

/** Letters of their own that many keyboards lack, as people write them there. */
const LETTERS: Readonly<Record<string, string>> = {
  ...{ ø: "o", ł: "l", đ: "d", ð: "d", ħ: "h", ı: "i", ŧ: "t", ŋ: "n" },
  ...{ æ: "ae", œ: "oe", þ: "th", ĳ: "ij" },
};
const SPECIAL_LETTERS = new RegExp(`[${Object.keys(LETTERS).join("")}]`, "g");

/** Nothing but words: most names are, and need no closer look. */
const PLAIN = /^[a-z0-9 ]+$/;
const PART = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu;
const SPACELESS =
  /[\p{scx=Han}\p{scx=Hiragana}\p{scx=Katakana}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmer}\p{scx=Myanmar}]+/gu;
const HAS_SPACELESS = new RegExp(SPACELESS.source, "u");
const SYMBOLS = /\p{S}+/gu;
/** What joins the parts of one word, as in don't, where most would write it together. */
const APOSTROPHE = /(?<=[\p{L}\p{N}])'(?=[\p{L}\p{N}])/gu;

function fold(text: string): string {
  if (text.trim() === "") return ""; // as a key it would have a name
  return withoutMarks(nameKey(text)).replace(SPECIAL_LETTERS, (letter) => LETTERS[letter] ?? letter);
}

const cut = (word: string): string =>
  word.length <= WORD_MAX ? word : [...word].slice(0, WORD_MAX).join("");

/** Between spaces: its parts, in order, each a word or a run. */
function partsOf(chunk: string): Term[] {
  const found: Term[] = [];
  const word = (text: string): void => {
    if (text !== "") found.push({ kind: "word", text: cut(text) });
  };
  for (const [part] of chunk.matchAll(PART)) {
    if (!HAS_SPACELESS.test(part)) {
      word(part);
      continue;
    }
    let end = 0;
    for (const match of part.matchAll(SPACELESS)) {
      word(part.slice(end, match.index));
      found.push({ kind: "run", characters: [...match[0]] });
      end = match.index + match[0].length;
    }
    word(part.slice(end));
  }
  return found;
}

const chunksOf = (folded: string): readonly string[] => folded.split(/\s+/).filter((chunk) => chunk !== "");

/** Signs of a text that has nothing else: its symbols, or all of it when it has only punctuation. */
function signsOf(folded: string): readonly string[] {
  const symbols = folded.match(SYMBOLS);
  if (symbols !== null) return symbols.map(cut);
  const rest = folded.replace(/[\s\p{C}\p{M}]+/gu, "");
  return rest === "" ? [] : [cut(rest)];
}

/** Pairs of neighbours, and the last character by itself: so each character begins one of them. */
export const pairsOf = (characters: readonly string[]): readonly string[] =>
  characters.map((character, index) => character + (characters[index + 1] ?? ""));

/** What a document is found by. Every part of a word with a sign in it counts, and the whole without the sign. */
export function wordsOf(names: readonly string[]): ReadonlySet<string> {
  const words = new Set<string>();
  for (const name of names) {
    const folded = fold(name);
    if (PLAIN.test(folded)) {
      for (const word of folded.split(" ").slice(0, NAME_WORDS_MAX)) if (word !== "") words.add(cut(word));
      continue;
    }
    let plain = false;
    for (const chunk of chunksOf(folded)) {
      if (words.size >= NAME_WORDS_MAX) break;
      const parts = partsOf(chunk);
      const together = chunk.replace(APOSTROPHE, "");
      if (together !== chunk) parts.push(...partsOf(together));
      for (const part of parts) {
        if (part.kind === "run") for (const pair of pairsOf(part.characters)) words.add(pair);
        else words.add(part.text);
      }
      plain ||= parts.length > 0;
      const whole = partsOf(together);
      if (whole.length > 1 && whole.every(({ kind }) => kind === "word")) {
        words.add(cut(whole.map((part) => (part.kind === "word" ? part.text : "")).join("")));
      }
      for (const [symbols] of chunk.matchAll(SYMBOLS)) words.add(cut(symbols));
    }
    if (!plain) for (const signs of signsOf(folded)) words.add(signs);
  }
  return words;
}

/** Null when there is nothing in it that could be searched for. */
export function readQuery(text: string): Query | null {
  const terms = termsOf(text);
  if (terms.length === 0) return null;
  return { terms: terms.slice(0, QUERY_TERMS_MAX).map(bounded), name: joined(terms) };
}

/** A name in one spelling, its words between single spaces; empty when there is nothing in it. */
export const plainName = (text: string): string => joined(termsOf(text));

function termsOf(text: string): readonly Term[] {
  const folded = fold(text);
  if (PLAIN.test(folded)) return chunksOf(folded).map((word) => ({ kind: "word", text: cut(word) }));
  const terms = chunksOf(folded.replace(APOSTROPHE, "")).flatMap(partsOf);
  if (terms.length > 0) return terms;
  return signsOf(folded).map((signs) => ({ kind: "signs", text: signs }));
}

const bounded = (term: Term): Term =>
  term.kind === "run" ? { kind: "run", characters: term.characters.slice(0, RUN_MAX) } : term;

const joined = (terms: readonly Term[]): string =>
  terms
    .slice(0, NAME_WORDS_MAX)
    .map((term) => (term.kind === "run" ? term.characters.join("") : term.text))
    .join(" ");
