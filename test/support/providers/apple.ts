/** The list of tracks last played with Apple Music: thirty at a time, fifty deep, without times. */
import type { Exchange } from "./exchange.js";
import { bearer, json } from "./exchange.js";

export interface AppleSong {
  readonly id: string;
  readonly title: string;
  readonly artist: string;
  readonly album?: string;
  readonly durationMs: number;
}

const PAGE = 30;
const DEPTH = 50;

export function appleItem({ id, title, artist, album = "Album", durationMs }: AppleSong) {
  return {
    id,
    type: "songs",
    href: `/v1/catalog/de/songs/${id}`,
    attributes: {
      albumName: album,
      artistName: artist,
      durationInMillis: durationMs,
      genreNames: ["Music"],
      name: title,
      playParams: { id, kind: "song" },
      trackNumber: 1,
    },
  };
}

export class AppleStandIn {
  /** By user token; the newest first. */
  readonly played = new Map<string, AppleSong[]>();
  developerToken = "developer-token";

  readonly handle = (exchange: Exchange): boolean => {
    const { url, headers, response } = exchange;
    if (url.pathname !== "/v1/me/recent/played/tracks") return false;
    const songs = this.played.get(String(headers["music-user-token"]));
    if (bearer(exchange) !== this.developerToken) json(401, { errors: [{ status: "401" }] })(response);
    else if (songs === undefined) json(403, { errors: [{ status: "403", title: "Forbidden" }] })(response);
    else {
      const offset = Number(url.searchParams.get("offset") ?? 0);
      const limit = Number(url.searchParams.get("limit") ?? 10);
      const end = Math.min(offset + Math.min(limit, PAGE), DEPTH);
      const next = songs.length > end && end < DEPTH ? { next: `${url.pathname}?offset=${end}` } : {};
      json(200, { ...next, data: songs.slice(offset, end).map(appleItem) })(response);
    }
    return true;
  };
}
