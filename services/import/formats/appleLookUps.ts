/**
 * Files of Apple's export that hold no plays but say who made a song: the library, recently played tracks, and the last
 * play of each track. Their records are totals; the plays of the same export are read with their help.
 */
import type { ImportFormat, Verdict } from "../types.js";
import type { ArtistFrom, ArtistNames } from "./appleArtists.js";
import { splitDescription, textIfAny } from "./appleValues.js";
import type { Fields } from "./fields.js";
import { asFields, excerptOf, rejected } from "./fields.js";

const LIBRARY_FIELDS = ["Content Type", "Track Identifier", "Title", "Artist", "Album"];
const RECENT_COLUMNS = ["Track Description", "Last Modified"];
const HISTORY_COLUMNS = ["Track Name", "Last Played Date", "Is User Initiated"];

const judgeTotal = (record: unknown): Verdict =>
  asFields(record) === undefined
    ? rejected("malformed", "The record is not an object")
    : { verdict: "skipped", reason: "aggregate" };

export const appleLibrary: ImportFormat = {
  name: "apple-library",
  source: "apple-export",
  container: "json-array",
  recognises({ firstRecord }) {
    const fields = asFields(firstRecord) ?? {};
    return "Track Identifier" in fields && LIBRARY_FIELDS.filter((name) => name in fields).length >= 3;
  },
  judge: judgeTotal,
  excerpt: (record) => excerptOf(record, LIBRARY_FIELDS),
};

export const appleRecent: ImportFormat = {
  name: "apple-recent",
  source: "apple-export",
  container: "csv",
  csv: { wanted: RECENT_COLUMNS, header: true },
  recognises: ({ columns = [] }) =>
    RECENT_COLUMNS.every((name) => columns.includes(name)) && columns.includes("Container Description"),
  judge: judgeTotal,
  excerpt: (record) => excerptOf(record, RECENT_COLUMNS),
};

export const appleTrackHistory: ImportFormat = {
  name: "apple-track-history",
  source: "apple-export",
  container: "csv",
  csv: { wanted: HISTORY_COLUMNS, header: true },
  recognises: ({ columns = [] }) => HISTORY_COLUMNS.every((name) => columns.includes(name)),
  judge: judgeTotal,
  excerpt: (record) => excerptOf(record, HISTORY_COLUMNS),
};

/** The formats that tell artists, and how they do. */
const TELLING: Readonly<Record<string, { readonly from: ArtistFrom; readonly column: string | null }>> = {
  "apple-library": { from: "library", column: null },
  "apple-daily": { from: "daily-tracks", column: "Track Description" },
  "apple-recent": { from: "recently-played", column: "Track Description" },
  "apple-track-history": { from: "play-history", column: "Track Name" },
};

export const APPLE_LOOK_UPS = Object.keys(TELLING);

/** Takes in what one record of such a file tells. */
export function lookUpName(names: ArtistNames, format: string, record: unknown): void {
  const telling = TELLING[format];
  const fields = asFields(record);
  if (telling === undefined || fields === undefined) return;
  const { title, artist, album } =
    telling.column === null ? ofLibrary(fields) : described(fields, telling.column);
  if (title !== null && artist !== null) names.add(telling.from, title, artist, album);
}

const ofLibrary = (fields: Fields) => ({
  title: textIfAny(fields, "Title"),
  artist: textIfAny(fields, "Artist"),
  album: textIfAny(fields, "Album"),
});

function described(fields: Fields, column: string) {
  const text = textIfAny(fields, column);
  return text === null
    ? { title: null, artist: null, album: null }
    : { ...splitDescription(text), album: null };
}
