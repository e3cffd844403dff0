/** Cells of Apple's files, also those that a spreadsheet wrote anew: `25200.0`, `TRUE`, `1.86E+05`; `N/A` says nothing. */
import type { Play } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { displayText, isRejected, rejected } from "./fields.js";

const NUMBER = /^[+-]?\d{1,16}(?:\.\d{1,16})?(?:[eE][+-]?\d{1,2})?$/;
const LARGEST = 2 ** 31 - 1;
const BETWEEN_NAMES = " - ";

/** A whole number of at most 31 bits and a sign; null when the cell says nothing. */
export function wholeNumber(fields: Fields, name: string): number | null | Rejected {
  const cell = cellOf(fields, name);
  if (cell === "") return null;
  const value = NUMBER.test(cell) ? Math.round(Number(cell)) : NaN;
  return Math.abs(value) <= LARGEST ? value : rejected("bad_number", `${name} is not a whole number`);
}

/** Like `wholeNumber`, of a cell that nothing depends on: what is no number says nothing. */
export function numberIfAny(fields: Fields, name: string): number | null {
  const value = wholeNumber(fields, name);
  return isRejected(value) ? null : value;
}

/** Like `displayText`, of a cell that nothing depends on. */
export function textIfAny(fields: Fields, name: string): string | null {
  const value = displayText(fields, name);
  return isRejected(value) || value === "N/A" ? null : value;
}

export function flagIfAny(fields: Fields, name: string): boolean | undefined {
  const cell = cellOf(fields, name).toUpperCase();
  return cell === "TRUE" ? true : cell === "FALSE" ? false : undefined;
}

/** Without space around it; "" for what says nothing. */
export function cellOf(fields: Fields, name: string): string {
  const value = fields[name];
  const text = typeof value === "string" ? value.trim() : "";
  return text === "N/A" ? "" : text;
}

/** `Artist - Title`, of which the artist ends at the first dash between spaces; a text without one is all title. */
export function splitDescription(text: string): { readonly artist: string | null; readonly title: string } {
  const at = text.indexOf(BETWEEN_NAMES);
  const artist = text.slice(0, Math.max(0, at)).trim();
  const title = text.slice(at + BETWEEN_NAMES.length).trim();
  return at < 0 || artist === "" || title === "" ? { artist: null, title: text } : { artist, title };
}

/** Without anything to say, a play has no context. */
export function contextOf(context: NonNullable<Play["context"]>): Play["context"] {
  return Object.keys(context).length === 0 ? null : context;
}
