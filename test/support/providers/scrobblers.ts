/** ListenBrainz and Last.fm: whole histories that are read from the newest play backwards. */
import { createHash } from "node:crypto";
import type { Exchange } from "./exchange.js";
import { bearer, json } from "./exchange.js";

export interface Scrobble {
  readonly title: string;
  readonly artist: string;
  readonly album?: string;
  /** Unix seconds. */
  readonly at: number;
}

const newestFirst = (scrobbles: readonly Scrobble[]): Scrobble[] =>
  [...scrobbles].sort((one, other) => other.at - one.at);

/** As GET /1/user/…/listens writes it. */
export function listen({ title, artist, album, at }: Scrobble) {
  return {
    inserted_at: at,
    listened_at: at,
    recording_msid: msidOf(`${artist}/${title}`),
    track_metadata: {
      additional_info: { submission_client: "navidrome", recording_msid: msidOf(`${artist}/${title}`) },
      artist_name: artist,
      release_name: album ?? "",
      track_name: title,
    },
    user_name: "ada",
  };
}

function msidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

export class ListenBrainzStandIn {
  /** By user name; by token. */
  readonly listens = new Map<string, Scrobble[]>();
  readonly tokens = new Map<string, string>();

  readonly handle = (exchange: Exchange): boolean => {
    const { url, response } = exchange;
    if (url.pathname === "/1/validate-token") {
      const name = this.tokens.get(bearer(exchange));
      const valid = name !== undefined;
      json(200, { code: 200, message: valid ? "Token valid." : "Token invalid.", valid, user_name: name })(
        response,
      );
      return true;
    }
    const [, name, what] = /^\/1\/user\/([^/]+)\/(listens|listen-count)$/.exec(url.pathname) ?? [];
    if (name === undefined) return false;
    const listens = this.listens.get(decodeURIComponent(name));
    if (listens === undefined) json(404, { code: 404, error: `Cannot find user: ${name}` })(response);
    else if (what === "listen-count") json(200, { payload: { count: listens.length } })(response);
    else json(200, { payload: page(listens, url) })(response);
    return true;
  };
}

function page(all: readonly Scrobble[], { searchParams }: URL) {
  const sorted = newestFirst(all);
  const count = Math.min(Number(searchParams.get("count") ?? 25), 1000);
  const max = Number(searchParams.get("max_ts") ?? Infinity);
  const min = Number(searchParams.get("min_ts") ?? -Infinity);
  const within = sorted.filter(({ at }) => at < max && at > min);
  // With a lower bound alone the oldest come first, and are turned round.
  const listens =
    searchParams.has("min_ts") && !searchParams.has("max_ts") ? within.slice(-count) : within.slice(0, count);
  return {
    count: listens.length,
    latest_listen_ts: sorted[0]?.at ?? 0,
    listens: listens.map(listen),
    oldest_listen_ts: sorted.at(-1)?.at ?? 0,
    user_id: "ada",
  };
}

/** As user.getRecentTracks writes it: every value is a string. */
export function lastfmTrack({ title, artist, album, at }: Scrobble) {
  return {
    artist: { mbid: "", "#text": artist },
    streamable: "0",
    mbid: "",
    album: { mbid: "", "#text": album ?? "" },
    name: title,
    url: "https://www.last.fm/music/_",
    date: { uts: String(at), "#text": new Date(at * 1000).toUTCString() },
  };
}

export class LastfmStandIn {
  /** By user name. */
  readonly scrobbles = new Map<string, Scrobble[]>();
  readonly playing = new Map<string, Scrobble>();
  readonly hidden = new Set<string>();
  apiKey = "lastfm-key";

  readonly handle = ({ url, response }: Exchange): boolean => {
    if (url.pathname !== "/2.0/") return false;
    const asked = url.searchParams;
    const user = asked.get("user") ?? "";
    const name = [...this.scrobbles.keys()].find((known) => known.toLowerCase() === user.toLowerCase());
    if (asked.get("api_key") !== this.apiKey) json(403, { error: 10, message: "Invalid API key" })(response);
    else if (name === undefined) json(404, { error: 6, message: "User not found" })(response);
    else if (asked.get("method") === "user.getInfo") json(200, { user: { name, playcount: "1" } })(response);
    else if (this.hidden.has(name)) json(403, { error: 17, message: "Login: User required" })(response);
    else json(200, this.#recent(name, asked))(response);
    return true;
  };

  #recent(name: string, asked: URLSearchParams) {
    const limit = Math.min(Number(asked.get("limit") ?? 50), 200);
    const from = Number(asked.get("from") ?? -Infinity);
    const to = Number(asked.get("to") ?? Infinity);
    const page = Number(asked.get("page") ?? 1);
    const within = newestFirst(this.scrobbles.get(name) ?? []).filter(({ at }) => at >= from && at < to);
    const playing = this.playing.get(name);
    const track = [
      ...(playing === undefined
        ? []
        : [{ ...lastfmTrack(playing), date: undefined, "@attr": { nowplaying: "true" } }]),
      ...within.slice((page - 1) * limit, page * limit).map(lastfmTrack),
    ];
    const totals = { user: name, page: String(page), perPage: String(limit), total: String(within.length) };
    const totalPages = String(Math.ceil(within.length / limit));
    return { recenttracks: { track, "@attr": { ...totals, totalPages } } };
  }
}
