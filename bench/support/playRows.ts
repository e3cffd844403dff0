/** One listener's plays as rows of listening_history in COPY text, with the catalogue they point to. */
import { createHash } from "node:crypto";
import { listenerRecords } from "./spotifyArchive.js";

export interface PlayRows {
  /** Columns of `plays`, in order. */
  readonly columns: readonly string[];
  readonly plays: readonly Buffer[];
  /** `name, name_key` of artists 1, 2, ... (the reserved artist not counted). */
  readonly artists: readonly Buffer[];
  /** `artist_id, title, title_key` */
  readonly albums: readonly Buffer[];
  /** `artist_id, title, title_key, loose_key` */
  readonly tracks: readonly Buffer[];
  readonly distinct: { readonly artists: number; readonly albums: number; readonly tracks: number };
}

const PIECE_BYTES = 64 * 1024;

/** Numbers names in the order they first appear, from `first` on, as an identity column would. */
class Numbering {
  readonly lines: string[] = [];
  private readonly numbers = new Map<string, number>();
  constructor(private readonly first: number) {}

  of(key: string, line: () => string): number {
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.first + this.lines.length;
      this.numbers.set(key, number);
      this.lines.push(line());
    }
    return number;
  }
}

/** `rows` plays of `userId` in time order; the same for the same arguments. */
export function playRows(rows: number, userId: string, importJobId: string): PlayRows {
  const artists = new Numbering(2); // 1 is the reserved artist
  const albums = new Numbering(1);
  const tracks = new Numbering(1);
  const lines: string[] = [];
  for (const record of listenerRecords({ rows })) {
    const artist = String(record["master_metadata_album_artist_name"]);
    const album = String(record["master_metadata_album_album_name"]);
    const title = String(record["master_metadata_track_name"]);
    const artistId = artists.of(artist, () => `${artist}\t${artist.toLowerCase()}`);
    const albumId = albums.of(`${artistId} ${album}`, () => `${artistId}\t${album}\t${album.toLowerCase()}`);
    const trackId = tracks.of(`${artistId} ${title}`, () => {
      const key = title.toLowerCase();
      return `${artistId}\t${title}\t${key}\t${artist.toLowerCase()} ${key}`;
    });
    const ended = new Date(String(record["ts"]));
    const played = Number(record["ms_played"]);
    const started = new Date(ended.getTime() - played).toISOString();
    const context = {
      platform: record["platform"],
      country: record["conn_country"],
      reasonStart: record["reason_start"],
      reasonEnd: record["reason_end"],
      shuffle: record["shuffle"],
      skipped: record["skipped"],
      offline: record["offline"],
    };
    lines.push(
      [
        userId,
        trackId,
        artistId,
        albumId,
        started,
        ended.toISOString(),
        started,
        started,
        played,
        "second",
        "spotify-extended",
        played >= 30_000 ? "t" : "f",
        `\\\\x${sourceKey(ended, `${String(record["spotify_track_uri"])} ${played}`)}`,
        importJobId,
        JSON.stringify(context).replaceAll("\\", "\\\\"),
      ].join("\t"),
    );
  }
  return {
    columns: [
      ...["user_id", "track_id", "artist_id", "album_id", "played_at", "ended_at", "start_earliest"],
      ...["start_latest", "ms_played", "precision", "source", "counted", "source_key", "import_job_id"],
      "context",
    ],
    plays: pieces(lines),
    artists: pieces(artists.lines),
    albums: pieces(albums.lines),
    tracks: pieces(tracks.lines),
    distinct: { artists: artists.lines.length, albums: albums.lines.length, tracks: tracks.lines.length },
  };
}

/** Of the shape of the real one (four bytes of time, twelve of hash), which is all an index sees of it. */
function sourceKey(instant: Date, what: string): string {
  const seconds = Math.floor(instant.getTime() / 1000)
    .toString(16)
    .padStart(8, "0");
  return seconds + createHash("sha256").update(what).digest("hex").slice(0, 24);
}

function pieces(lines: readonly string[]): Buffer[] {
  const result: Buffer[] = [];
  let piece = "";
  for (const line of lines) {
    piece += `${line}\n`;
    if (piece.length >= PIECE_BYTES) {
      result.push(Buffer.from(piece));
      piece = "";
    }
  }
  if (piece !== "") result.push(Buffer.from(piece));
  return result;
}
