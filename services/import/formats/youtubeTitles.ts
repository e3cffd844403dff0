/**
 * Titles of Google's activity records are sentences in the language of the account: "Watched Solar", „Solar“ angesehen,
 * "Solar を視聴しました". What stands around the title is known for some languages and learned from the file for others.
 */

/** What stands before and after the title, with ordinary spaces. */
export interface Wording {
  readonly before: string;
  readonly after: string;
}

/** More specific ones first: German puts no quotation marks around what was removed. */
const KNOWN: readonly Wording[] = [
  { before: "Watched ", after: "" },
  { before: "Listened to ", after: "" },
  { before: "Vous avez regardé ", after: "" },
  { before: "", after: " を視聴しました" },
  { before: "„", after: "“ angesehen" },
  { before: "", after: " angesehen" },
];

/** Different titles that are remembered of a file, and how many it takes to learn from them. */
const SAMPLE_TITLES = 1000;
const ENOUGH_TITLES = 10;
const LONGEST_WORDING = 60;
const KNOWN_SHARE = 0.5;
const COMMON_SHARE = 0.8;

/** `other`: a sentence about something that is no watching. `unknown`: nobody can say where the title begins. */
export type WatchedTitle =
  | { readonly kind: "watched"; readonly title: string }
  | { readonly kind: "other" }
  | { readonly kind: "unknown" };

export type ReadTitle = (sentence: string) => WatchedTitle;

/** Collects sentences about watched videos; holds a bounded number of them. */
export class TitleSurvey {
  readonly #sentences = new Set<string>();

  see(sentence: string): void {
    if (this.#sentences.size < SAMPLE_TITLES) this.#sentences.add(plainSpaces(sentence));
  }

  finish(): ReadTitle {
    const learned = this.#learn();
    return (sentence) => {
      const wording = [...(learned === null ? [] : [learned]), ...KNOWN].find((each) => fits(sentence, each));
      if (wording !== undefined) return { kind: "watched", title: inside(sentence, wording) };
      return { kind: learned === null ? "unknown" : "other" };
    };
  }

  #learn(): Wording | null {
    const sentences = [...this.#sentences];
    const best = KNOWN.map((wording) => ({
      wording,
      count: sentences.filter((sentence) => fits(sentence, wording)).length,
    })).reduce((most, each) => (each.count > most.count ? each : most));
    if (best.count > 0 && best.count >= sentences.length * KNOWN_SHARE) return best.wording;
    if (sentences.length < ENOUGH_TITLES) return null;
    const letters = sentences.map((sentence) => Array.from(sentence));
    const before = commonHead(letters);
    const after = commonHead(letters.map((each) => each.reverse()));
    return { before: cutToWord(before), after: Array.from(cutToWord(after)).reverse().join("") };
  }
}

/** Without a survey: by the languages that are known. */
export const readKnownTitle: ReadTitle = new TitleSurvey().finish();

const plainSpaces = (text: string): string => text.replace(/[\u00a0\u202f]/g, " ");

function fits(sentence: string, { before, after }: Wording): boolean {
  const text = plainSpaces(sentence);
  return text.length > before.length + after.length && text.startsWith(before) && text.endsWith(after);
}

function inside(sentence: string, { before, after }: Wording): string {
  return sentence.slice(before.length, sentence.length - after.length).trim();
}

/** The longest beginning that most of the texts share. */
function commonHead(texts: readonly (readonly string[])[]): string[] {
  const head: string[] = [];
  let sharing = texts;
  while (head.length < LONGEST_WORDING) {
    const byNext = new Map<string, (readonly string[])[]>();
    for (const text of sharing) {
      const next = text[head.length];
      if (next === undefined) continue;
      const alike = byNext.get(next) ?? [];
      alike.push(text);
      byNext.set(next, alike);
    }
    const [best] = [...byNext].sort(([, a], [, b]) => b.length - a.length);
    if (best === undefined || best[1].length < texts.length * COMMON_SHARE) break;
    head.push(best[0]);
    sharing = best[1];
  }
  return head;
}

/** Titles may begin alike by chance; the wording ends where a word does, or anywhere in scripts without spaces. */
function cutToWord(head: readonly string[]): string {
  const end = head.findLastIndex((letter) => !/[\p{L}\p{N}]/u.test(letter) || UNSPACED.test(letter));
  return head.slice(0, end + 1).join("");
}

const UNSPACED = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;
