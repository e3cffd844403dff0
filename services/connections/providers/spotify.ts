/**
 * Spotify's list of recently played tracks: the last fifty, in one page. `after` says from when on; two hours before the
 * newest known play are asked for again, because plays of devices that were offline turn up late. `played_at` is when a
 * track ended. See docs/adr/0025.
 */
import { countsAsListen } from "../../history/listenRule.js";
import { spotifyLiveKey } from "../../history/sourceKey.js";
import type { Fields, Rejected } from "../../import/formats/fields.js";
import {
  asFields,
  displayText,
  excerptOf,
  instant,
  isRejected,
  milliseconds,
  PAUSE_SLACK_MS,
  rejected,
  requiredText,
} from "../../import/formats/fields.js";
import { parseIsoUtc } from "../../import/formats/times.js";
import type { PartContext, Play, Verdict } from "../../import/types.js";
import { ProviderError, ReauthNeededError } from "../errors.js";
import { authorized, type Call, listIn, objectIn, wholeNumber } from "./calls.js";
import { notAhead } from "./live.js";
import type { IdentifyAccount, LiveFormat, PageRequest, SyncPage, SyncProvider } from "./types.js";

const NAME = "Spotify";
const PAGE = 50;
const OVERLAP_MS = 2 * 60 * 60 * 1000;
const TRACK_URI = /^spotify:track:([0-9A-Za-z]{22})$/;

export function spotifyProvider(apiUrl: string, call: Call): SyncProvider {
  return {
    provider: "spotify",
    format: spotifyLive,
    rereads: true,
    page: (request) => page(apiUrl, call, request),
  };
}

async function page(
  apiUrl: string,
  call: Call,
  { access, cursor, polledAt, signal }: PageRequest,
): Promise<SyncPage> {
  const known = wholeNumber(cursor?.["newest"]);
  const url = new URL(`${apiUrl}/v1/me/player/recently-played`);
  url.searchParams.set("limit", String(PAGE));
  if (known !== null) url.searchParams.set("after", String(Math.max(0, known - OVERLAP_MS)));

  const answer = await authorized(access, (token) =>
    call({ url, headers: { authorization: `Bearer ${token}` }, signal }, access.connectionId),
  );
  if (answer.status === 403) {
    throw new ProviderError("Spotify does not let this app read the account's plays", false);
  }
  const records = listIn(objectIn(answer, NAME)["items"], NAME, PAGE);
  const times = records.map(endOf).filter((time) => time !== null);
  const oldest = Math.min(...times);
  const isFull = records.length === PAGE && times.length > 0;
  return {
    records,
    // Nothing so far: whatever is played from now on is new.
    cursor: { newest: known === null && times.length === 0 ? polledAt : Math.max(known ?? 0, ...times) },
    more: false,
    gap: known !== null && isFull && oldest > known ? { from: known, until: oldest } : null,
  };
}

function endOf(record: unknown): number | null {
  const playedAt = asFields(record)?.["played_at"];
  return typeof playedAt === "string" ? parseIsoUtc(playedAt) : null;
}

/** Throws ReauthNeededError for a token that is none. */
export function identifySpotify(apiUrl: string, call: Call): IdentifyAccount {
  return async ({ token }, signal) => {
    if (token === null) throw new ReauthNeededError("Spotify tells nothing without a token");
    const headers = { authorization: `Bearer ${token}` };
    const request = { url: `${apiUrl}/v1/me`, headers, ...(signal === undefined ? {} : { signal }) };
    const answer = await call(request, "connecting");
    if (answer.status === 401) throw new ReauthNeededError("Spotify does not take the token");
    const { id } = objectIn(answer, NAME);
    if (typeof id !== "string" || id === "")
      throw new ProviderError("Spotify did not say whose account it is", false);
    return { account: id, proven: true };
  };
}

export const spotifyLive: LiveFormat = {
  name: "spotify-live",
  source: "spotify-live",

  judge(record: unknown, { now }: PartContext): Verdict {
    const fields = asFields(record);
    if (fields === undefined) return rejected("malformed", "The record is not an object");
    const track = asFields(fields["track"]);
    if (track === undefined) return { verdict: "skipped", reason: "removed" };
    if (track["type"] === "episode") return { verdict: "skipped", reason: "podcast" };
    const play = readPlay(fields, track, now);
    return isRejected(play) ? play : notAhead({ verdict: "play", play }, now);
  },

  excerpt(record: unknown): string {
    const fields = asFields(record);
    const { uri, name, duration_ms } = asFields(fields?.["track"]) ?? {};
    return excerptOf(fields === undefined ? record : { ...fields, uri, name, duration_ms }, [
      "played_at",
      "uri",
      "name",
      "duration_ms",
    ]);
  },
};

function readPlay(fields: Fields, track: Fields, now: number): Play | Rejected {
  const end = instant(fields, "played_at", parseIsoUtc, now);
  if (isRejected(end)) return end;
  const durationMs = milliseconds(track, "duration_ms");
  if (isRejected(durationMs)) return durationMs;
  const title = requiredText(track, "name");
  if (isRejected(title)) return title;
  const artists = Array.isArray(track["artists"]) ? track["artists"] : [];
  const artist = requiredText(asFields(artists[0]) ?? {}, "name");
  if (isRejected(artist)) return artist;
  const album = displayText(asFields(track["album"]) ?? {}, "name");
  if (isRejected(album)) return album;
  const uri = typeof track["uri"] === "string" ? track["uri"] : "";
  const id = TRACK_URI.exec(uri)?.[1];
  if (id === undefined) return rejected("missing_field", "The track has no URI of Spotify's catalogue");

  const start = end - durationMs;
  return {
    source: "spotify-live",
    sourceKey: spotifyLiveKey({ playedAtMs: end, uri }),
    playedAt: start,
    endedAt: end,
    startEarliest: start - PAUSE_SLACK_MS,
    startLatest: end,
    precision: "second",
    msPlayed: null,
    durationMs,
    counted: countsAsListen({ msPlayed: null, durationMs }),
    title,
    artist,
    album,
    trackId: { provider: "spotify", id },
    context: null,
  };
}
