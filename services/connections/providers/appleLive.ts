/** Tracks of Apple Music's list as plays. When each was heard is worked out by the client; this only judges. */
import { countsAsListen } from "../../history/listenRule.js";
import { appleLiveKey } from "../../history/sourceKey.js";
import type { Fields, Rejected } from "../../import/formats/fields.js";
import {
  asFields,
  displayText,
  excerptOf,
  isRejected,
  rejected,
  requiredText,
} from "../../import/formats/fields.js";
import { lengthMs } from "../../import/formats/scrobbles.js";
import type { ExternalId, Play, Verdict } from "../../import/types.js";
import { notAhead } from "./live.js";
import type { LiveFormat } from "./types.js";

/** An entry of the list with what is known of its time; Unix milliseconds. */
export interface AppleRecord {
  /** As Apple gave it. */
  readonly item: unknown;
  /** 0-based, from the newest. */
  readonly place: number;
  readonly polledAt: number;
  /** The poll before; null for the first. */
  readonly since: number | null;
  /** Null: it was there before anybody looked. */
  readonly startedAt: number | null;
}

const BEFORE_FIRST_POLL: Verdict = {
  verdict: "skipped",
  reason: "not_a_play",
  message: "Was in the list when it was first read: when it was played is not known",
};
/** A play that was under way at the poll before began at most so much earlier. */
const LONGEST_TRACK_MS = 60 * 60 * 1000;
/** Who has not looked for longer knows no more than that it was not yesterday; see REACH in services/import/linking.ts. */
const FURTHEST_BACK_MS = 14 * 24 * 60 * 60 * 1000;
const CATALOGUE_ID = /^\d{1,15}$/;

export const appleLive: LiveFormat = {
  name: "apple-live",
  source: "apple-live",

  judge(value: unknown, { now }): Verdict {
    // Only the client makes these.
    const record = value as AppleRecord;
    if (record.startedAt === null) return BEFORE_FIRST_POLL;
    const play = readPlay(record, record.startedAt);
    return isRejected(play) ? play : notAhead({ verdict: "play", play }, now);
  },

  excerpt(value: unknown): string {
    const item = asFields((value as AppleRecord).item) ?? {};
    return excerptOf({ ...asFields(item["attributes"]), id: item["id"] }, [
      "id",
      "name",
      "artistName",
      "albumName",
      "durationInMillis",
    ]);
  },
};

function readPlay({ item, place, polledAt, since }: AppleRecord, startedAt: number): Play | Rejected {
  const fields = asFields(item);
  const attributes = asFields(fields?.["attributes"]);
  if (fields === undefined || attributes === undefined)
    return rejected("malformed", "The track has no attributes");
  const songId = requiredText(fields, "id");
  if (isRejected(songId)) return songId;
  const title = requiredText(attributes, "name");
  if (isRejected(title)) return title;
  const artist = requiredText(attributes, "artistName");
  if (isRejected(artist)) return artist;
  const album = displayText(attributes, "albumName");
  if (isRejected(album)) return album;
  const durationMs = lengthMs(attributes, "durationInMillis", 1);
  // Between two polls is all that is certain.
  const startEarliest =
    since === null
      ? startedAt
      : Math.max(since - (durationMs ?? LONGEST_TRACK_MS), polledAt - FURTHEST_BACK_MS);
  return {
    source: "apple-live",
    sourceKey: appleLiveKey({ polledAtMs: polledAt, songId, place }),
    playedAt: Math.max(startedAt, startEarliest),
    endedAt: null,
    startEarliest,
    startLatest: polledAt,
    precision: "inferred",
    msPlayed: null,
    durationMs,
    counted: countsAsListen({ msPlayed: null, durationMs }),
    title,
    artist,
    album,
    trackId: strongId(fields, attributes),
    context: null,
  };
}

/** Songs of somebody's own library have ids that mean nothing to others. */
function strongId(fields: Fields, attributes: Fields): ExternalId | null {
  const catalogue = asFields(attributes["playParams"])?.["catalogId"] ?? fields["id"];
  return typeof catalogue === "string" && CATALOGUE_ID.test(catalogue)
    ? { provider: "apple", id: catalogue }
    : null;
}
