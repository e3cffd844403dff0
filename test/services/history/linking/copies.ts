/** The plays of an extended history as other services of the same listener have them. */
import path from "node:path";
import { zip } from "../../../support/zip.js";
import { json } from "../../import/importing.js";

/** A real history, which is no part of the repository: its tests say so where it is not there. */
export const REAL_HISTORY = path.resolve(
  import.meta.dirname,
  "../../../../../shared/fixtures/spotify-extended/nl-2024/Streaming_History_Audio_2024-2025_3.json",
);

/** Of three uploads. */
export const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const;

export type Fields = Readonly<Record<string, unknown>>;

/** Longer than a play that was paused can be. */
const LONGEST_PLAY_MS = 7 * 24 * 60 * 60 * 1000;

const endOf = (record: Fields): number => Date.parse(String(record["ts"]));

/** As the import reads it: the stamp is the start where it is one. */
function startOf(record: Fields): number {
  const [end, ms, stamp] = [
    endOf(record),
    Number(record["ms_played"]),
    Number(record["offline_timestamp"] ?? 0),
  ];
  const told = stamp > 1e11 ? stamp : stamp * 1000;
  return told > 0 && told <= end && end - told <= LONGEST_PLAY_MS ? told : end - ms;
}

const title = (record: Fields): string => String(record["master_metadata_track_name"]);
const artist = (record: Fields): string => String(record["master_metadata_album_artist_name"]);
const isTrack = (record: Fields): boolean => typeof record["master_metadata_track_name"] === "string";

/**
 * The account data that Spotify gives the same person, derived from the extended history and not downloaded: ends cut to
 * the minute, no album, no id, and rows that are equal in all four fields only once.
 */
export function accountDataOf(records: readonly Fields[]): Fields[] {
  const rows = records.filter(isTrack).map((record) => ({
    endTime: new Date(endOf(record)).toISOString().slice(0, 16).replace("T", " "),
    artistName: artist(record),
    trackName: title(record),
    msPlayed: Number(record["ms_played"]),
  }));
  return [...new Map(rows.map((row) => [JSON.stringify(row), row])).values()];
}

/** Scrobblers take plays of half a minute or more, by a clock of their own that is up to `lateMs` late. */
const scrobbled = (records: readonly Fields[], lateMs: number): { record: Fields; second: number }[] =>
  records
    .filter((record) => isTrack(record) && Number(record["ms_played"]) >= 30_000)
    .map((record, n) => ({ record, second: Math.floor((startOf(record) + ((n * 977) % lateMs)) / 1000) }));

/** As Last.fm's API gives them. */
export const lastfmOf = (records: readonly Fields[]): Fields[] =>
  scrobbled(records, 3000).map(({ record, second }) => ({
    artist: { mbid: "", "#text": artist(record) },
    album: { mbid: "", "#text": "" },
    name: title(record),
    mbid: "",
    date: { uts: String(second), "#text": "" },
  }));

export const listenbrainzOf = (records: readonly Fields[]): Fields[] =>
  scrobbled(records, 2500).map(({ record, second }) => ({
    listened_at: second,
    track_metadata: { track_name: title(record), artist_name: artist(record), additional_info: {} },
  }));

/** What one listener has to upload: the extended history, the account data, and an archive of two scrobblers. */
export const uploadsOf = (records: readonly Fields[]): readonly [Buffer, Buffer, Buffer] => [
  json(records),
  json(accountDataOf(records)),
  zip([
    { name: "lastfm.json", data: json(lastfmOf(records)) },
    { name: "listens.jsonl", data: lines(listenbrainzOf(records)) },
  ]),
];

const lines = (records: readonly Fields[]): Buffer =>
  Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
