/** Koito's export: one JSON document with a list `listens`, where everything has aliases of which one is primary. */
import { koitoKey } from "../../history/sourceKey.js";
import { cutToBytes, EXCERPT_MAX_BYTES, rawExcerpt } from "../reading/excerpt.js";
import type { FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, contextText, instant, isRejected, rejected } from "./fields.js";
import { inside, lengthMs, names, playOf, recordingId } from "./scrobbles.js";
import { parseIsoOffset } from "./times.js";

export const koito: ImportFormat = {
  name: "koito",
  source: "koito",
  container: "json-lists",
  lists: ["listens"],

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    return fields !== undefined && "listened_at" in fields && "aliases" in inside(fields, "track");
  },

  judge(record: unknown, context: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    const play = readPlay(fields, context.now);
    return isRejected(play) ? play : { verdict: "play", play };
  },

  excerpt(record: unknown): string {
    const fields = asFields(record);
    if (fields === undefined) return rawExcerpt(JSON.stringify(record) ?? String(record));
    const shown = {
      listened_at: fields["listened_at"],
      track: primaryName(fields["track"]),
      artist: primaryName(primaryOf(fields["artists"])),
      album: primaryName(fields["album"]),
    };
    return cutToBytes(JSON.stringify(shown), EXCERPT_MAX_BYTES);
  },
};

function readPlay(fields: Fields, now: number): Play | Rejected {
  const startMs = instant(fields, "listened_at", parseIsoOffset, now);
  if (isRejected(startMs)) return startMs;
  const track = inside(fields, "track");
  const shown = {
    title: primaryName(track),
    artist: primaryName(primaryOf(fields["artists"])),
    album: primaryName(fields["album"]),
  };
  const said = names(
    { title: shown, artist: shown, album: shown },
    { title: "title", artist: "artist", album: "album" },
  );
  if (isRejected(said)) return said;
  const client = contextText(fields, "client");
  return playOf({
    source: "koito",
    sourceKey: koitoKey({ listenedAtMs: startMs, ...said }),
    startMs,
    precision: "second",
    ...said,
    durationMs: lengthMs(track, "duration", 1000),
    trackId: recordingId(track["mbid"]),
    context: client === undefined ? null : { platform: client },
  });
}

/** The entry of a list that says it is primary, else the first; undefined for anything but a list with entries. */
function primaryOf(list: unknown): Fields | undefined {
  if (!Array.isArray(list)) return undefined;
  const entries = (list as unknown[]).map(asFields).filter((entry) => entry !== undefined);
  return entries.find((entry) => entry["is_primary"] === true) ?? entries[0];
}

function primaryName(thing: unknown): unknown {
  const fields = asFields(thing);
  return fields === undefined ? undefined : primaryOf(fields["aliases"])?.["alias"];
}
