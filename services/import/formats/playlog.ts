/**
 * The plays of playlog's own export (`listening-history.jsonl`): each with its source and the key it is recognised by, so
 * that the account it came from gets nothing twice, and an empty one gets the same rows. Plays of private sessions are
 * among them: whoever has them in the history has asked for them before.
 */
import { countsAsListen } from "../../history/listenRule.js";
import { exportedKey } from "../../history/sourceKey.js";
import { EXTERNAL_ID_PROVIDERS, PLAY_SOURCES, TIME_PRECISIONS } from "../../../db/models/enums.js";
import type { ExternalId, FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import {
  asFields,
  displayText,
  excerptOf,
  hasValue,
  instant,
  isRejected,
  milliseconds,
  rejected,
} from "./fields.js";
import { inside, names } from "./scrobbles.js";
import { parseIsoUtc } from "./times.js";

const SHOWN_FIELDS = ["playedAt", "msPlayed", "source", "sourceKey", "track", "artist", "album"];
const CONTEXT_NAME = /^[A-Za-z]\w{0,63}$/;
const MAX_CONTEXT_ENTRIES = 50;
const MAX_ID_LENGTH = 200;

export const playlog: ImportFormat = {
  name: "playlog",
  source: "playlog",
  container: "json-lines",

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    return (
      fields !== undefined && ["source", "sourceKey", "playedAt", "track"].every((name) => name in fields)
    );
  },

  judge(record: unknown, context: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    const play = readPlay(fields, context.now);
    return isRejected(play) ? play : { verdict: "play", play };
  },

  excerpt: (record) => excerptOf(record, SHOWN_FIELDS),
};

function readPlay(fields: Fields, now: number): Play | Rejected {
  const source = memberOf(PLAY_SOURCES, fields["source"]);
  const sourceKey = typeof fields["sourceKey"] === "string" ? exportedKey(fields["sourceKey"]) : null;
  const precision = memberOf(TIME_PRECISIONS, fields["precision"]);
  if (source === undefined || source === "playlog" || sourceKey === null || precision === undefined)
    return rejected("malformed", "source, sourceKey or precision is not as playlog writes it");
  const times = readTimes(fields, now);
  if (isRejected(times)) return times;
  const msPlayed = hasValue(fields, "msPlayed") ? milliseconds(fields, "msPlayed") : null;
  if (isRejected(msPlayed)) return msPlayed;
  const durationMs = hasValue(fields, "durationMs") ? milliseconds(fields, "durationMs") : null;
  if (isRejected(durationMs)) return durationMs;
  const track = inside(fields, "track");
  const said = names(
    { title: track, artist: inside(fields, "artist"), album: inside(fields, "album") },
    { title: "title", artist: "name", album: "title" },
  );
  if (isRejected(said)) return said;
  const context = readContext(fields["context"]);
  if (isRejected(context)) return context;
  const counted = fields["counted"];
  return {
    source,
    sourceKey,
    ...times,
    precision,
    msPlayed,
    durationMs,
    counted: typeof counted === "boolean" ? counted : countsAsListen({ msPlayed, durationMs }),
    ...said,
    trackId: strongId(track),
    context,
  };
}

function readTimes(
  fields: Fields,
  now: number,
): Pick<Play, "playedAt" | "endedAt" | "startEarliest" | "startLatest"> | Rejected {
  const playedAt = instant(fields, "playedAt", parseIsoUtc, now);
  if (isRejected(playedAt)) return playedAt;
  const [endedAt, earliest, latest] = ["endedAt", "startEarliest", "startLatest"].map((name) => {
    const value = fields[name];
    return typeof value === "string" ? parseIsoUtc(value) : null;
  });
  if (hasValue(fields, "endedAt") && (endedAt ?? null) === null)
    return rejected("bad_time", "endedAt is not a time");
  const startEarliest = earliest ?? playedAt;
  const startLatest = latest ?? playedAt;
  if (startEarliest > playedAt || startLatest < playedAt)
    return rejected("bad_time", "playedAt is not between startEarliest and startLatest");
  return { playedAt, endedAt: endedAt ?? null, startEarliest, startLatest };
}

/** The first in order of the providers; the catalogue may know more, but one is enough to find the track again. */
function strongId(track: Fields): ExternalId | null {
  const ids: unknown[] = Array.isArray(track["externalIds"]) ? track["externalIds"] : [];
  for (const provider of EXTERNAL_ID_PROVIDERS) {
    for (const entry of ids) {
      const fields = asFields(entry);
      const id = fields?.["id"];
      if (fields?.["provider"] !== provider || typeof id !== "string") continue;
      if (/^[\x21-\x7e]+$/.test(id) && id.length <= MAX_ID_LENGTH) return { provider, id };
    }
  }
  return null;
}

function readContext(value: unknown): Play["context"] | Rejected {
  if (value === undefined || value === null) return null;
  const entries = Object.entries(asFields(value) ?? { "": value });
  if (entries.length > MAX_CONTEXT_ENTRIES) return rejected("too_long", "context has too many entries");
  const context: Record<string, string | number | boolean> = {};
  for (const [name, entry] of entries) {
    if (!CONTEXT_NAME.test(name)) return rejected("malformed", "context is not as playlog writes it");
    if (typeof entry === "boolean" || typeof entry === "number") context[name] = entry;
    else if (typeof entry === "string") {
      const text = displayText({ [name]: entry }, name);
      if (isRejected(text)) return text;
      context[name] = text ?? "";
    } else return rejected("malformed", "context is not as playlog writes it");
  }
  return context;
}

function memberOf<T extends string>(values: readonly T[], value: unknown): T | undefined {
  return values.find((one) => one === value);
}
