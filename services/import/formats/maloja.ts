/**
 * Maloja's export: one JSON document with a list `scrobbles`. Maloja has split artists by its own rules and keeps no order
 * of them: the one that is also an artist of the album is shown, else the first.
 */
import { malojaKey } from "../../history/sourceKey.js";
import type { FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, displayText, excerptOf, isRejected, rejected } from "./fields.js";
import { inside, lengthMs, names, playOf, unixInstant } from "./scrobbles.js";

export const maloja: ImportFormat = {
  name: "maloja",
  source: "maloja",
  container: "json-lists",
  lists: ["scrobbles"],

  recognises({ firstRecord }: FormatSample): boolean {
    const fields = asFields(firstRecord);
    return fields !== undefined && "time" in fields && Array.isArray(inside(fields, "track")["artists"]);
  },

  judge(record: unknown, context: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    const play = readPlay(fields, context.now);
    return isRejected(play) ? play : { verdict: "play", play };
  },

  excerpt(record: unknown): string {
    return excerptOf(record, ["time", "track", "duration"]);
  },
};

function readPlay(fields: Fields, now: number): Play | Rejected {
  const startMs = unixInstant(fields, "time", 1000, now);
  if (isRejected(startMs)) return startMs;
  const track = inside(fields, "track");
  const artists = textsOf(track["artists"]);
  if (isRejected(artists)) return artists;
  const album = inside(track, "album");
  const ofAlbum: readonly unknown[] = Array.isArray(album["artists"]) ? album["artists"] : [];
  const artist = artists.find((name) => ofAlbum.includes(name)) ?? artists[0];
  const said = names(
    { title: track, artist: { artist }, album },
    { title: "title", artist: "artist", album: "albumtitle" },
  );
  if (isRejected(said)) return said;
  return playOf({
    source: "maloja",
    sourceKey: malojaKey({ scrobbledMs: startMs, artists, title: said.title }),
    startMs,
    precision: "second",
    ...said,
    msPlayed: lengthMs(fields, "duration", 1000),
    durationMs: lengthMs(track, "length", 1000),
  });
}

function textsOf(list: unknown): string[] | Rejected {
  const texts: string[] = [];
  for (const artist of Array.isArray(list) ? (list as unknown[]) : []) {
    const text = displayText({ artist }, "artist");
    if (isRejected(text)) return text;
    if (text !== null) texts.push(text);
  }
  return texts;
}
