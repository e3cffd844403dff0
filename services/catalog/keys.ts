/**
 * Normalised keys of names. `nameKey` is identity: two names are one artist (or title) exactly when their keys
 * are equal. `looseKey` only proposes pairs: sightings of one play by two sources, candidates for a merge.
 */
import { createHash } from "node:crypto";

/** Fits a B-tree entry of PostgreSQL with room for the other columns of an index. */
const KEY_MAX_BYTES = 1000;
const BLANK_KEY = "[blank]";
const ASCII = /^[\x20-\x7e]*$/;
/** Where an ASCII text has more than single spaces between its words. */
const SPACED = /^ | $| {2}/;

/**
 * NFKC, full case folding by Unicode (never by a locale), one kind of quote, hyphen and space. Never empty: what
 * folds to nothing is its own key. At most 1,000 bytes; longer keys end in a hash of the whole.
 */
export function nameKey(text: string): string {
  const key = normalise(text);
  return bounded(key === "" ? rawKey(text) : key);
}

/**
 * Key of a recording for duplicate search: names without accents, the title without a bracketed "feat." or "with"
 * and without a remaster note at its end. Live versions, remixes and edits stay apart: they are other recordings.
 */
export function looseKey(artist: string, title: string): string {
  return bounded(`${looseArtist(artist)}\u001f${looseTitle(title)}`);
}

function looseArtist(artist: string): string {
  const key = withoutMarks(normalise(artist));
  return key === "" ? rawKey(artist) : key;
}

const BRACKETED_GUEST = /\s*[([{]\s*(?:feat\.?|ft\.?|featuring|with)\s[^()[\]{}]*[)\]}]/g;
const REMASTER =
  "(?:\\d{4} )?(?:(?:digital|digitally|newly) )?remaster(?:ed)?(?: (?:version|edition))?(?: (?:in )?\\d{4})?";
const REMASTER_TAIL = new RegExp(`(?: - ${REMASTER}| ?\\(${REMASTER}\\)| ?\\[${REMASTER}\\])$`);

function looseTitle(title: string): string {
  const key = withoutMarks(normalise(title));
  const bare = key.replace(BRACKETED_GUEST, "").replace(REMASTER_TAIL, "").trim();
  if (bare !== "") return bare;
  return key === "" ? rawKey(title) : key;
}

function normalise(text: string): string {
  if (ASCII.test(text)) {
    const key = text.toLowerCase().replaceAll("`", "'");
    return SPACED.test(key) ? collapse(key) : key;
  }
  const unified = unify(repair(text)).normalize("NFKC");
  // Folding can undo normal form and unifying can meet characters that only NFKC brings out, hence twice.
  return collapse(unify(foldCase(unified).normalize("NFKC")));
}

const SINGLE_QUOTES = /[`\u00b4\u02b9\u02bb\u02bc\u02bd\u2018-\u201b\u2032\u2035\uff07]/g;
const DOUBLE_QUOTES = /[\u00ab\u00bb\u201c-\u201f\u2033\u2036\u301d-\u301f\uff02]/g;
const HYPHENS = /[\u2010-\u2015\u2043\u2212\u2e3a\u2e3b\ufe58\ufe63\uff0d]/g;
/** Soft hyphens, zero-width spaces and direction marks. Not the joiners, which hold emoji and letters together. */
const INVISIBLE = /[\u00ad\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]/g;

/** Before NFKC, which would take the acute accent for a space with a mark on it. */
function unify(text: string): string {
  return text
    .replace(INVISIBLE, "")
    .replace(SINGLE_QUOTES, "'")
    .replace(DOUBLE_QUOTES, '"')
    .replace(HYPHENS, "-");
}

/**
 * Full case folding out of JavaScript's locale-free mappings: down, up, down makes ẞ, ß and SS one. Two corrections:
 * the capital of dotless ı is a plain I, but its folding is itself; and a sigma has one folding wherever it stands.
 */
function foldCase(text: string): string {
  return text
    .split("\u0131")
    .map((part) => part.toLowerCase().toUpperCase().toLowerCase())
    .join("\u0131")
    .replaceAll("\u03c2", "\u03c3");
}

function collapse(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** Accents and other optional signs, but not the vowel signs and voicing marks that make other words of a word. */
const OPTIONAL_MARKS =
  /[\u0300-\u036f\u0591-\u05bd\u064b-\u0652\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]/g;

/** Of text that is normalised already. */
export function withoutMarks(text: string): string {
  return ASCII.test(text)
    ? text
    : collapse(text.normalize("NFD").replace(OPTIONAL_MARKS, "").normalize("NFC"));
}

function rawKey(text: string): string {
  const raw = repair(text).trim();
  return raw === "" ? BLANK_KEY : raw;
}

function repair(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function bounded(key: string): string {
  if (key.length * 3 <= KEY_MAX_BYTES || Buffer.byteLength(key) <= KEY_MAX_BYTES) return key;
  const tail = `#${createHash("sha256").update(key).digest("hex")}`;
  const bytes = Buffer.from(key);
  let end = KEY_MAX_BYTES - tail.length;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString("utf8", 0, end) + tail;
}
