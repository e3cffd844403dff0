/** What Google's activity records about YouTube mean, whatever file they come from. */
import { countsAsListen } from "../../history/listenRule.js";
import { youtubeKey } from "../../history/sourceKey.js";
import type { Play, Verdict } from "../types.js";
import type { SkipReason } from "../verdicts.js";
import type { Fields, Rejected } from "./fields.js";
import { displayText, isRejected, rejected } from "./fields.js";
import { isTopic, musicOf } from "./youtubeMusic.js";
import type { ReadTitle } from "./youtubeTitles.js";

export const SHOWN_FIELDS = ["header", "title", "titleUrl", "subtitles", "time", "details"];

const MUSIC_HEADER = "YouTube Music";
const MUSIC_HOST = "music.youtube.com";
const VIDEO_HOSTS: ReadonlySet<string> = new Set([
  "youtube.com",
  "www.youtube.com",
  "m.youtube.com",
  MUSIC_HOST,
  "youtu.be",
]);
const VIDEO_ID = /^[\w-]{11}$/;
/** A brand name, the same in every language: "From Google Ads", "Aus Google Ads". */
export const ADS = /Google Ads/i;

/** When a video was opened, in Unix milliseconds, and between what. */
export interface Opened {
  readonly atMs: number;
  readonly earliestMs: number;
  readonly latestMs: number;
}

/** How the files of one family write what the records say. */
export interface ActivityFamily {
  readonly family: "youtube-json" | "youtube-html";
  readonly readTitle: ReadTitle;
  /** Asked of plays only. */
  readonly readTime: (fields: Fields) => Opened | Rejected;
}

/** Whether a record is of YouTube's part of Google's activity: watched, searched or anything else. */
export function isYouTubeActivity(fields: Fields): boolean {
  const { header, title, time, products } = fields;
  if (typeof header !== "string" || typeof title !== "string" || typeof time !== "string") return false;
  return isYouTubeName(header) || (Array.isArray(products) && products.some(isYouTubeName));
}

const isYouTubeName = (name: unknown): boolean => typeof name === "string" && name.startsWith("YouTube");

/** Of a record's `titleUrl`; null when it leads to anything but a video. */
export function videoOf(fields: Fields): { readonly id: string; readonly isMusic: boolean } | null {
  const { titleUrl } = fields;
  const url = typeof titleUrl === "string" && URL.canParse(titleUrl) ? new URL(titleUrl) : null;
  if (url === null || !VIDEO_HOSTS.has(url.hostname)) return null;
  const [first = "", second = ""] = url.pathname.split("/").slice(1);
  const id = url.hostname === "youtu.be" ? first : first === "shorts" ? second : url.searchParams.get("v");
  return id !== null && VIDEO_ID.test(id) ? { id, isMusic: url.hostname === MUSIC_HOST } : null;
}

export function judgeActivity(fields: Fields, { family, readTitle, readTime }: ActivityFamily): Verdict {
  if (isAd(fields)) return skipped("ad");
  const sentence = displayText(fields, "title");
  if (isRejected(sentence)) return sentence;
  if (sentence === null) return rejected("missing_field", "title is missing");
  if (!isYouTubeActivity({ ...fields, title: sentence, time: "" })) return skipped("not_a_play");
  const watched = readTitle(sentence);
  if (watched.kind === "other") return skipped("not_a_play");
  if (fields["titleUrl"] === undefined) return skipped(watched.kind === "watched" ? "removed" : "not_a_play");
  const video = videoOf(fields);
  if (video === null) return skipped("not_a_play");
  const channel = channelOf(fields);
  if (isRejected(channel)) return channel;
  // Of a video that is gone only its address is left, which then stands in place of the title.
  if (channel === null && (watched.kind === "unknown" ? sentence : watched.title).includes(video.id))
    return skipped("removed");
  if (fields["header"] !== MUSIC_HEADER && !video.isMusic && !(channel !== null && isTopic(channel)))
    return skipped("not_music");
  if (channel === null)
    return { verdict: "skipped", reason: "removed", message: "The record names no channel" };
  if (watched.kind === "unknown") return rejected("unsupported_locale", UNKNOWN_WORDING);

  const opened = readTime(fields);
  if (isRejected(opened)) return opened;
  return {
    verdict: "play",
    play: playOf(family, { id: video.id, channel, sentence, title: watched.title, opened }),
  };
}

const UNKNOWN_WORDING =
  "It cannot be told where the title begins: the language of the file is not known, and the file is too short to learn it";

function playOf(
  family: ActivityFamily["family"],
  video: {
    readonly id: string;
    readonly channel: string;
    readonly sentence: string;
    readonly title: string;
    readonly opened: Opened;
  },
): Play {
  const { id, channel, sentence, opened } = video;
  const { artist, title } = musicOf(channel, video.title);
  return {
    source: family,
    sourceKey: youtubeKey(family, { openedMs: opened.atMs, videoId: id, channel, title: sentence }),
    playedAt: opened.atMs,
    endedAt: null,
    startEarliest: opened.earliestMs,
    startLatest: opened.latestMs,
    precision: "second",
    msPlayed: null,
    durationMs: null,
    counted: countsAsListen({ msPlayed: null, durationMs: null }),
    title,
    artist,
    album: null,
    trackId: { provider: "youtube", id },
    context: null,
  };
}

function isAd({ details }: Fields): boolean {
  if (!Array.isArray(details)) return false;
  return details.some((detail: unknown) => {
    const name = typeof detail === "object" && detail !== null && "name" in detail ? detail.name : undefined;
    return typeof name === "string" && ADS.test(name);
  });
}

function channelOf({ subtitles }: Fields): string | null | Rejected {
  const first: unknown = Array.isArray(subtitles) ? subtitles[0] : undefined;
  if (typeof first !== "object" || first === null || !("name" in first)) return null;
  const channel = displayText({ channel: first.name }, "channel");
  return typeof channel === "string" ? channel.trim() : channel;
}

function skipped(reason: SkipReason): Verdict {
  return { verdict: "skipped", reason };
}
