/** Spotify's Web API as far as plays go: who somebody is, and the last fifty tracks that ended. */
import type { Exchange } from "./exchange.js";
import { bearer, json } from "./exchange.js";
import { OAuthStandIn } from "./oauth.js";

export interface SpotifyPlay {
  /** 22 letters and digits. */
  readonly id: string;
  readonly title: string;
  readonly artist: string;
  readonly album?: string;
  readonly durationMs: number;
  /** When it ended; Unix milliseconds. */
  readonly playedAt: number;
}

const KEPT = 50;

/** As GET /v1/me/player/recently-played writes it. */
export function spotifyItem({ id, title, artist, album = "Album", durationMs, playedAt }: SpotifyPlay) {
  const artists = [{ id: `${id.slice(0, 20)}AA`, name: artist, type: "artist" }];
  return {
    track: {
      album: { album_type: "album", artists, id: `${id.slice(0, 20)}BB`, name: album, type: "album" },
      artists,
      disc_number: 1,
      duration_ms: durationMs,
      explicit: false,
      id,
      is_local: false,
      name: title,
      track_number: 1,
      type: "track",
      uri: `spotify:track:${id}`,
    },
    played_at: new Date(playedAt).toISOString(),
    context: null,
  };
}

export class SpotifyStandIn {
  readonly oauth = new OAuthStandIn({ authorize: "/authorize", token: "/api/token" });
  /** By account. */
  readonly plays = new Map<string, SpotifyPlay[]>();

  readonly handle = (exchange: Exchange): boolean => {
    const { url, response } = exchange;
    if (this.oauth.handle(exchange)) return true;
    if (url.pathname !== "/v1/me" && url.pathname !== "/v1/me/player/recently-played") return false;
    const account = this.oauth.access.get(bearer(exchange));
    if (account === undefined) {
      json(401, { error: { status: 401, message: "The access token expired" } })(response);
    } else if (url.pathname === "/v1/me") {
      json(200, { id: account, display_name: account, type: "user", uri: `spotify:user:${account}` })(
        response,
      );
    } else {
      json(200, this.#page(account, url))(response);
    }
    return true;
  };

  #page(account: string, url: URL) {
    const after = Number(url.searchParams.get("after") ?? -1);
    const limit = Number(url.searchParams.get("limit") ?? 20);
    const items = [...(this.plays.get(account) ?? [])]
      .sort((one, other) => other.playedAt - one.playedAt)
      .slice(0, KEPT)
      .filter(({ playedAt }) => playedAt > after)
      .slice(0, limit);
    const newest = items[0];
    const oldest = items.at(-1);
    return {
      items: items.map(spotifyItem),
      next: items.length < limit ? null : `${url.origin}${url.pathname}?before=${oldest?.playedAt}`,
      cursors:
        newest === undefined ? null : { after: String(newest.playedAt), before: String(oldest?.playedAt) },
      limit,
      href: url.href,
    };
  }
}
