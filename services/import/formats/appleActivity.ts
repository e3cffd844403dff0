/**
 * Apple Music's Play Activity, every generation: 31 to 134 columns that come and go, so they are found by name. Rows from
 * before 2017 have no Event Type and are plays. Files since 2022 name no artist; other files of the same export do, and
 * the play's context says so. Rows that are one listen become one play, see appleSegments.ts.
 */
import { ownText } from "../../../utils/ownText.js";
import { countsAsListen } from "../../history/listenRule.js";
import { appleExportKey } from "../../history/sourceKey.js";
import type { FormatSample, ImportFormat, JudgeRecord, Play, Verdict } from "../types.js";
import { ArtistNames } from "./appleArtists.js";
import { lookUpName, APPLE_LOOK_UPS } from "./appleLookUps.js";
import { Segments } from "./appleSegments.js";
import type { Listen, Segment } from "./appleSegments.js";
import { cellOf, contextOf, flagIfAny, numberIfAny, textIfAny, wholeNumber } from "./appleValues.js";
import type { Fields, Rejected } from "./fields.js";
import {
  asFields,
  contextText,
  displayText,
  excerptOf,
  hasValue,
  instant,
  isRejected,
  PAUSE_SLACK_MS,
  rejected,
  requiredText,
  UNKNOWN_ARTIST,
} from "./fields.js";
import { parseIsoUtc } from "./times.js";

const START = "Event Start Timestamp";
const END = "Event End Timestamp";
const PLAYED = "Play Duration Milliseconds";
const LENGTH = "Media Duration In Milliseconds";
/** The song, by the generation of the file. */
const TITLES = ["Song Name", "Content Name"];
const COLUMNS = [
  ...TITLES,
  "Artist Name",
  "Album Name",
  START,
  END,
  PLAYED,
  LENGTH,
  "Start Position In Milliseconds",
  "End Position In Milliseconds",
  "Event Type",
  "End Reason Type",
  "Item Type",
  "Media Type",
  "UTC Offset In Seconds",
  "Offline",
  "Shuffle Play",
  "Source Type",
];

const ADS = new Set(["AD", "AUDIO_AD"]);
const NO_SONGS = new Set(["NON_SONG_CLIP", "STREAM", "INVALID", "ORIGINAL_CONTENT_SHOWS"]);
const CLOCK_SLACK_MS = 2000;
const LARGEST_UTC_OFFSET_S = 18 * 3600;

/** A row of a play, or of a part of one. */
type ActivityRow = Omit<Segment, "position" | "song"> & {
  readonly title: string;
  readonly artist: string | null;
  readonly album: string | null;
};

export const appleActivity: ImportFormat = {
  name: "apple-activity",
  source: "apple-export",
  container: "csv",
  csv: { wanted: COLUMNS, header: true },

  recognises({ columns = [] }: FormatSample): boolean {
    return (
      TITLES.some((name) => columns.includes(name)) &&
      [START, END, PLAYED].filter((name) => columns.includes(name)).length >= 2
    );
  },

  survey: {
    lookUps: APPLE_LOOK_UPS,
    begin(now) {
      const names = new ArtistNames();
      const segments = new Segments();
      return {
        lookUp: (format, record) => lookUpName(names, format, record),
        see(record, position) {
          const row = readRow(asFields(record) ?? {}, now);
          if (!("verdict" in row)) segments.add({ ...row, position, song: songOf(row) });
        },
        finish(): JudgeRecord {
          segments.join();
          return (record, context, position) => judge(record, context.now, segments.at(position), names);
        },
      };
    },
  },

  judge: (record, context) => judge(record, context.now, undefined, new ArtistNames()),

  excerpt: (record) => excerptOf(record, COLUMNS),
};

const songOf = ({ artist, title, album }: ActivityRow): string[] => [artist ?? "", title, album ?? ""];

function judge(record: unknown, now: number, listen: Listen | undefined, names: ArtistNames): Verdict {
  const fields = asFields(record);
  if (fields === undefined) return rejected("malformed", "The record is not an object");
  const row = readRow(fields, now);
  if ("verdict" in row) return row;
  if (listen !== undefined && listen.role !== "whole") {
    return listen.role === "continuation"
      ? { verdict: "skipped", reason: "continuation" }
      : { verdict: "skipped", reason: "not_a_play", message: "The start of a play that has its own row" };
  }
  return { verdict: "play", play: playOf(row, fields, listen, names) };
}

function readRow(fields: Fields, now: number): ActivityRow | Verdict {
  const other = otherThanSong(fields);
  if (other !== null) return other;
  const titleColumn = TITLES.find((name) => hasValue(fields, name));
  if (titleColumn === undefined) return { verdict: "skipped", reason: "removed" };

  const kind = cellOf(fields, "Event Type") === "PLAY_START" ? "start" : "end";
  const startMs = hasValue(fields, START) ? instant(fields, START, parseIsoUtc, now) : null;
  if (isRejected(startMs)) return startMs;
  const endMs = timeOfRow(fields, kind, startMs, now);
  if (isRejected(endMs)) return endMs;
  const given = wholeNumber(fields, PLAYED);
  if (isRejected(given)) return given;
  const title = requiredText(fields, titleColumn);
  if (isRejected(title)) return title;
  const artist = displayText(fields, "Artist Name");
  if (isRejected(artist)) return artist;
  const album = displayText(fields, "Album Name");
  if (isRejected(album)) return album;
  return {
    kind,
    title,
    artist,
    album,
    startMs,
    endMs,
    msPlayed: given,
    durationMs: positive(numberIfAny(fields, LENGTH)),
    startPosition: numberIfAny(fields, "Start Position In Milliseconds"),
    endPosition: numberIfAny(fields, "End Position In Milliseconds"),
    reasonEnd: cellOf(fields, "End Reason Type"),
  };
}

function otherThanSong(fields: Fields): Verdict | null {
  const item = cellOf(fields, "Item Type");
  if (ADS.has(item)) return { verdict: "skipped", reason: "ad" };
  if (item.startsWith("AGGREGATE_")) return { verdict: "skipped", reason: "aggregate" };
  if (NO_SONGS.has(item))
    return { verdict: "skipped", reason: "not_music", message: "A clip, a station or a show, not a song" };
  if (cellOf(fields, "Media Type") === "VIDEO")
    return { verdict: "skipped", reason: "video", message: "A music video" };
  const event = cellOf(fields, "Event Type");
  if (event === "" || event === "PLAY_END" || event === "PLAY_START") return null;
  return { verdict: "skipped", reason: "not_a_play" };
}

/** The time that identifies the row. */
function timeOfRow(
  fields: Fields,
  kind: Segment["kind"],
  startMs: number | null,
  now: number,
): number | Rejected {
  if (kind === "start") return startMs ?? rejected("missing_field", `${START} is missing`);
  return instant({ ...fields, [END]: cellOf(fields, END) || undefined }, END, parseIsoUtc, now);
}

const positive = (value: number | null): number | null => (value !== null && value > 0 ? value : null);

/**
 * `listen` is undefined where nothing is known of the other rows: the row stands for itself. All texts are its own: views of
 * the file would hold ten megabytes of it with each batch of plays.
 */
function playOf(
  row: ActivityRow,
  fields: Fields,
  listen: Extract<Listen, { role: "whole" }> | undefined,
  names: ArtistNames,
): Play {
  const { kind, title, album, durationMs } = row;
  const own = row.msPlayed === null ? null : Math.max(0, row.msPlayed);
  const msPlayed = listen === undefined ? own : listen.msPlayed;
  const inferred = row.artist === null ? names.find(title, album) : null;
  const start = row.startMs ?? row.endMs;
  const reasonEnd = listen?.reasonEnd ?? row.reasonEnd;
  return {
    source: "apple-export",
    sourceKey: appleExportKey({
      eventMs: row.endMs,
      artist: row.artist,
      title,
      album,
      msPlayed: row.msPlayed,
    }),
    playedAt: start,
    endedAt: kind === "start" ? null : (listen?.endMs ?? row.endMs),
    startEarliest: start - CLOCK_SLACK_MS - (row.startMs === null ? PAUSE_SLACK_MS : 0),
    startLatest: start + CLOCK_SLACK_MS,
    precision: "second",
    msPlayed,
    durationMs,
    counted: countsAsListen({ msPlayed, durationMs }),
    title: ownText(title),
    artist: row.artist === null ? (inferred?.artist ?? UNKNOWN_ARTIST) : ownText(row.artist),
    album: album === null ? null : ownText(album),
    trackId: null,
    context: contextOf({
      ...readContext(fields, reasonEnd),
      ...(row.artist === null ? { artistFrom: inferred?.from ?? "unknown" } : {}),
    }),
  };
}

function readContext(fields: Fields, reasonEnd: string): NonNullable<Play["context"]> {
  const offset = numberIfAny(fields, "UTC Offset In Seconds");
  const offline = flagIfAny(fields, "Offline");
  const shuffle = cellOf(fields, "Shuffle Play");
  const platform = contextText(fields, "Source Type");
  const reason = contextText({ reasonEnd }, "reasonEnd");
  return {
    ...(platform === undefined || textIfAny(fields, "Source Type") === null
      ? {}
      : { platform: ownText(platform) }),
    ...(reason === undefined ? {} : { reasonEnd: ownText(reason) }),
    ...(reasonEnd.startsWith("TRACK_SKIPPED") ? { skipped: true } : {}),
    ...(offline === undefined ? {} : { offline }),
    ...(shuffle === "SHUFFLE_ON" ? { shuffle: true } : shuffle === "SHUFFLE_OFF" ? { shuffle: false } : {}),
    ...(offset === null || Math.abs(offset) > LARGEST_UTC_OFFSET_S ? {} : { utcOffsetSeconds: offset }),
  };
}
