/**
 * ListenBrainz: the files of months (JSON Lines) of its export, and the one list of the older web export, with the same
 * records. Names are taken as they were submitted. What ListenBrainz mapped them to changes over time and can be wrong;
 * it is never read.
 */
import { listenbrainzKey } from "../../history/sourceKey.js";
import type { ExternalId, FormatSample, ImportFormat, PartContext, Play, Verdict } from "../types.js";
import type { Fields, Rejected } from "./fields.js";
import { asFields, contextText, hasValue, isRejected, rejected } from "./fields.js";
import { cutToBytes, EXCERPT_MAX_BYTES, rawExcerpt } from "../reading/excerpt.js";
import { inside, lengthMs, names, playOf, recordingId, unixInstant } from "./scrobbles.js";

const SPOTIFY_TRACK = /(?:^|[/:])track[/:]([0-9A-Za-z]{22})(?:$|[?#])/;
const ISRC = /^[A-Z]{2}[A-Z0-9]{3}\d{7}$/;
const MSID = /^[0-9a-f-]{36}$/i;

function recognises({ firstRecord }: FormatSample): boolean {
  const fields = asFields(firstRecord);
  return fields !== undefined && "listened_at" in fields && "track_metadata" in fields;
}

function judge(record: unknown, context: PartContext): Verdict {
  const fields = asFields(record);
  if (fields === undefined) return rejected("malformed", "The record is not an object");
  if (fields["playing_now"] === true && !hasValue(fields, "listened_at"))
    return { verdict: "skipped", reason: "now_playing" };
  const play = readPlay(fields, context.now);
  return isRejected(play) ? play : { verdict: "play", play };
}

function excerpt(record: unknown): string {
  const fields = asFields(record);
  if (fields === undefined) return rawExcerpt(JSON.stringify(record) ?? String(record));
  const { track_name, artist_name, release_name } = inside(fields, "track_metadata");
  const shown = { listened_at: fields["listened_at"], track_name, artist_name, release_name };
  return cutToBytes(JSON.stringify(shown), EXCERPT_MAX_BYTES);
}

export const listenbrainz: ImportFormat = {
  name: "listenbrainz",
  source: "listenbrainz",
  container: "json-lines",
  recognises,
  judge,
  excerpt,
};

export const listenbrainzList: ImportFormat = {
  ...listenbrainz,
  name: "listenbrainz-list",
  container: "json-array",
};

function readPlay(fields: Fields, now: number): Play | Rejected {
  const startMs = unixInstant(fields, "listened_at", 1000, now);
  if (isRejected(startMs)) return startMs;
  const track = inside(fields, "track_metadata");
  const said = names(
    { title: track, artist: track, album: track },
    { title: "track_name", artist: "artist_name", album: "release_name" },
  );
  if (isRejected(said)) return said;
  const info = inside(track, "additional_info");
  const msid = track["recording_msid"] ?? fields["recording_msid"];
  return playOf({
    source: "listenbrainz",
    sourceKey: listenbrainzKey({
      listenedAtMs: startMs,
      recordingMsid: typeof msid === "string" && MSID.test(msid) ? msid.toLowerCase() : null,
      ...said,
    }),
    startMs,
    precision: "second",
    ...said,
    msPlayed: lengthMs(info, "duration_played", 1000),
    durationMs: lengthMs(info, "duration_ms", 1) ?? lengthMs(info, "duration", 1000),
    trackId: strongId(info),
    context: readContext(info),
  });
}

/** Only ids that were submitted with the listen. */
function strongId(info: Fields): ExternalId | null {
  const spotify = typeof info["spotify_id"] === "string" ? SPOTIFY_TRACK.exec(info["spotify_id"]) : null;
  if (spotify?.[1] !== undefined) return { provider: "spotify", id: spotify[1] };
  const recording = recordingId(info["recording_mbid"]);
  if (recording !== null) return recording;
  const isrc = typeof info["isrc"] === "string" ? info["isrc"].toUpperCase() : "";
  return ISRC.test(isrc) ? { provider: "isrc", id: isrc } : null;
}

function readContext(info: Fields): Play["context"] {
  const platform = contextText(info, "media_player") ?? contextText(info, "submission_client");
  const service = contextText(info, "music_service");
  if (platform === undefined && service === undefined) return null;
  return {
    ...(platform === undefined ? {} : { platform }),
    ...(service === undefined ? {} : { service }),
  };
}
