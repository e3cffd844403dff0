/** Statistics the plain way: every play looked at by itself, local times as Intl writes them. */
import type { Activity } from "../../../db/queries/stats.js";
import type { Bucket } from "../../../services/stats/buckets.js";

export interface ReckonedPlay {
  /** ISO 8601 in UTC, whole seconds. */
  readonly playedAt: string;
  readonly artist: string;
  readonly album: string | null;
  readonly track: string;
  readonly msPlayed: number | null;
  readonly counted: boolean;
  readonly private: boolean;
}

interface LocalTime {
  /** YYYY-MM-DD */
  readonly date: string;
  /** 00-23 */
  readonly hour: string;
  /** +02:00 */
  readonly offset: string;
}

const formats = new Map<string, Intl.DateTimeFormat>();

export function localTime(playedAt: string, timeZone: string): LocalTime {
  let format = formats.get(timeZone);
  if (format === undefined) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      timeZoneName: "longOffset",
    });
    formats.set(timeZone, format);
  }
  const parts = Object.fromEntries(
    format.formatToParts(new Date(playedAt)).map(({ type, value }) => [type, value]),
  );
  const offset = parts["timeZoneName"]?.replace("GMT", "") ?? "";
  return {
    date: `${parts["year"]}-${parts["month"]}-${parts["day"]}`,
    hour: parts["hour"] ?? "",
    offset: offset === "" ? "+00:00" : offset,
  };
}

function mondayOf(date: string): string {
  const day = new Date(`${date}T00:00:00Z`);
  day.setUTCDate(day.getUTCDate() - ((day.getUTCDay() + 6) % 7));
  return day.toISOString().slice(0, 10);
}

export function bucketOf(playedAt: string, bucket: Bucket, timeZone: string): string {
  const { date, hour, offset } = localTime(playedAt, timeZone);
  switch (bucket) {
    case "hour":
      return `${date}T${hour}:00:00${offset}`;
    case "day":
      return date;
    case "week":
      return mondayOf(date);
    case "month":
      return `${date.slice(0, 7)}-01`;
    case "year":
      return `${date.slice(0, 4)}-01-01`;
  }
}

/** Plays and milliseconds by any key. */
export function sumsBy(
  plays: readonly ReckonedPlay[],
  keyOf: (play: ReckonedPlay) => string | null,
): ReadonlyMap<string, readonly [plays: number, ms: number]> {
  const sums = new Map<string, readonly [number, number]>();
  for (const play of plays) {
    const key = keyOf(play);
    if (key === null) continue;
    const [count, ms] = sums.get(key) ?? [0, 0];
    sums.set(key, [count + 1, ms + (play.msPlayed ?? 0)]);
  }
  return sums;
}

export function summaryOf(plays: readonly ReckonedPlay[]) {
  const times = plays.map(({ playedAt }) => new Date(playedAt).toISOString()).sort();
  return {
    plays: plays.length,
    msPlayed: plays.reduce((sum, { msPlayed }) => sum + (msPlayed ?? 0), 0),
    artists: sumsBy(plays, ({ artist }) => artist).size,
    albums: sumsBy(plays, ({ artist, album }) => (album === null ? null : `${artist} ${album}`)).size,
    tracks: sumsBy(plays, ({ artist, track }) => `${artist} ${track}`).size,
    firstAt: times[0] ?? null,
    lastAt: times.at(-1) ?? null,
  };
}

export const NO_ACTIVITY: Activity = { keys: [], plays: [], ms: [] };
