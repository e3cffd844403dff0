/**
 * Last.fm has no export of its own; these are the files of the tools that people use. JSON as Last.fm's API answers it (in
 * pages, as one page, or all scrobbles in one list), JSON of lastfmstats.com, CSV with Unix times or with times that name
 * their offset from UTC, and CSV without a header whose times end at the minute. All times are starts. MBIDs of Last.fm
 * are not reliable and never read.
 */
import { lastfmKey } from "../../history/sourceKey.js";
import type { FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import { cutToBytes, EXCERPT_MAX_BYTES, rawExcerpt } from "../reading/excerpt.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, excerptOf, hasValue, instant, isRejected, rejected } from "./fields.js";
import { inside, names, playOf, unixInstant } from "./scrobbles.js";
import { parseDayFirstMinute, parseIsoOffset } from "./times.js";

type Said = { readonly title: string; readonly artist: string; readonly album: string | null };
type Family = "lastfm" | "lastfm-minute";

function scrobbled(family: Family, startMs: number | Rejected, said: Said | Rejected): Verdict {
  if (isRejected(startMs)) return startMs;
  if (isRejected(said)) return said;
  const sourceKey = lastfmKey(family, { scrobbledMs: startMs, ...said });
  const precision = family === "lastfm-minute" ? "minute" : "second";
  const play: Play = playOf({ source: family, sourceKey, startMs, precision, ...said });
  return { verdict: "play", play };
}

const NOT_AN_OBJECT = rejected("malformed", "The record is not an object");
const NOW_PLAYING: Verdict = { verdict: "skipped", reason: "now_playing" };

/** Text stands in the field itself, or in `#text` or `name` of an object there. */
function textOf(fields: Fields, name: string): unknown {
  const inner = asFields(fields[name]);
  return inner === undefined ? fields[name] : (inner["#text"] ?? inner["name"]);
}

const apiNames = (fields: Fields): Fields => ({
  title: fields["name"],
  artist: textOf(fields, "artist"),
  album: textOf(fields, "album"),
});

function judgeApi(record: unknown, { now }: PartContext): Verdict {
  const fields = asFields(record);
  if (fields === undefined) return NOT_AN_OBJECT;
  const date = inside(fields, "date");
  const { nowplaying } = inside(fields, "@attr");
  const isPlaying = nowplaying === true || nowplaying === "true";
  if (isPlaying || fields["date"] === undefined || fields["date"] === null) return NOW_PLAYING;
  const said = apiNames(fields);
  return scrobbled(
    "lastfm",
    unixInstant(date, "uts", 1000, now),
    names({ title: said, artist: said, album: said }, { title: "title", artist: "artist", album: "album" }),
  );
}

function excerptApi(record: unknown): string {
  const fields = asFields(record);
  if (fields === undefined) return rawExcerpt(JSON.stringify(record) ?? String(record));
  const shown = { uts: inside(fields, "date")["uts"], ...apiNames(fields) };
  return cutToBytes(JSON.stringify(shown), EXCERPT_MAX_BYTES);
}

function recognisesApi({ firstRecord }: FormatSample): boolean {
  const fields = asFields(firstRecord);
  if (fields === undefined || !("name" in fields)) return false;
  const artist = inside(fields, "artist");
  const isPlaying = "nowplaying" in inside(fields, "@attr");
  return ("#text" in artist || "name" in artist) && ("uts" in inside(fields, "date") || isPlaying);
}

export const lastfmPages: ImportFormat = {
  name: "lastfm-pages",
  source: "lastfm",
  container: "json-lists",
  lists: ["track"],
  recognises: recognisesApi,
  judge: judgeApi,
  excerpt: excerptApi,
};

export const lastfmList: ImportFormat = {
  name: "lastfm-list",
  source: "lastfm",
  container: "json-array",
  recognises: recognisesApi,
  judge: judgeApi,
  excerpt: excerptApi,
};

const IN_ROW = { title: "track", artist: "artist", album: "album" };
const namesOfRow = (fields: Fields): Said | Rejected =>
  names({ title: fields, artist: fields, album: fields }, IN_ROW);

export const lastfmStats: ImportFormat = {
  name: "lastfm-stats",
  source: "lastfm",
  container: "json-lists",
  lists: ["scrobbles"],

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    return (
      fields !== undefined &&
      ["track", "artist", "date"].every((name) => typeof fields[name] !== "object" && name in fields)
    );
  },

  judge(record: unknown, { now }: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return NOT_AN_OBJECT;
    return scrobbled("lastfm", unixInstant(fields, "date", 1, now), namesOfRow(fields));
  },

  excerpt: (record) => excerptOf(record, ["date", "artist", "album", "track"]),
};

/** A format of rows, whose time is in the column `time`. */
function rows(
  { name, family, time, header }: { name: string; family: Family; time: string; header: boolean },
  read: (fields: Fields, now: number) => number | Rejected,
): Omit<ImportFormat, "recognises"> {
  const wanted = header ? [time, "artist", "album", "track"] : ["artist", "album", "track", time];
  return {
    name,
    source: family,
    container: "csv",
    csv: { wanted, header },
    judge(record: unknown, { now }: PartContext): Verdict {
      const fields = asFields(record);
      if (fields === undefined) return NOT_AN_OBJECT;
      if (!hasValue(fields, time)) return NOW_PLAYING;
      return scrobbled(family, read(fields, now), namesOfRow(fields));
    },
    excerpt: (record) => excerptOf(record, wanted),
  };
}

const hasColumns = (columns: readonly string[] | undefined, needed: readonly string[]): boolean =>
  columns !== undefined && needed.every((name) => columns.includes(name));

export const lastfmCsv: ImportFormat = {
  ...rows({ name: "lastfm-csv", family: "lastfm", time: "uts", header: true }, (fields, now) =>
    unixInstant(fields, "uts", 1000, now),
  ),
  recognises: ({ columns }) => hasColumns(columns, ["uts", "artist", "track"]),
};

export const lastfmOffsetCsv: ImportFormat = {
  ...rows({ name: "lastfm-offset-csv", family: "lastfm", time: "ts", header: true }, (fields, now) =>
    instant(fields, "ts", parseIsoOffset, now),
  ),
  recognises: ({ columns }) => hasColumns(columns, ["ts", "artist", "track"]),
};

const MINUTE_COLUMNS = 4;

export const lastfmMinuteCsv: ImportFormat = {
  ...rows(
    { name: "lastfm-minute-csv", family: "lastfm-minute", time: "date", header: false },
    (fields, now) => instant(fields, "date", parseDayFirstMinute, now),
  ),
  recognises: ({ columns }) =>
    columns?.length === MINUTE_COLUMNS && parseDayFirstMinute(columns[MINUTE_COLUMNS - 1] ?? "") !== null,
};
