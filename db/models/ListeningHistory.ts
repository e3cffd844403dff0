import { Model } from "objection";
import type { QueryBuilder } from "objection";
import { Album } from "./Album.js";
import { Artist } from "./Artist.js";
import { BaseModel } from "./BaseModel.js";
import { Track } from "./Track.js";
import { User } from "./User.js";
import type { PlaySource, TimePrecision } from "./enums.js";

/** One play as one source saw it. */
export class ListeningHistory extends BaseModel {
  static override readonly tableName = "listening_history";
  static override readonly jsonAttributes = ["context"];

  declare id: number;
  declare userId: string;
  declare trackId: number;
  /** Always the artist of the track; the database keeps the two together. */
  declare artistId: number;
  declare albumId: number | null;
  /** Start of the play. */
  declare playedAt: Date;
  declare endedAt: Date | null;
  declare startEarliest: Date;
  declare startLatest: Date;
  declare msPlayed: number | null;
  /** As this row's own source gives it. */
  declare durationMs: number | null;
  declare precision: TimePrecision;
  declare source: PlaySource;
  declare counted: boolean;
  /** 16 bytes, frozen for ever. */
  declare sourceKey: Buffer;
  declare importJobId: string | null;
  /** Leading sighting of the same play. */
  declare duplicateOf: number | null;
  declare context: Record<string, string | number | boolean> | null;
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare user?: User;
  declare track?: Track;
  declare artist?: Artist;
  declare album?: Album | null;

  static override readonly relationMappings = () => ({
    user: {
      relation: Model.BelongsToOneRelation,
      modelClass: User,
      join: { from: "listening_history.userId", to: "users.id" },
    },
    track: {
      relation: Model.BelongsToOneRelation,
      modelClass: Track,
      join: { from: "listening_history.trackId", to: "tracks.id" },
    },
    artist: {
      relation: Model.BelongsToOneRelation,
      modelClass: Artist,
      join: { from: "listening_history.artistId", to: "artists.id" },
    },
    album: {
      relation: Model.BelongsToOneRelation,
      modelClass: Album,
      join: { from: "listening_history.albumId", to: "albums.id" },
    },
  });

  static override readonly modifiers = {
    ofUser: (query: QueryBuilder<ListeningHistory>, userId: string) =>
      void query.where("listening_history.userId", userId),
    /** Half-open, so that adjacent periods share no play. */
    during: (query: QueryBuilder<ListeningHistory>, from: Date, until: Date) =>
      void query
        .where("listening_history.playedAt", ">=", from)
        .where("listening_history.playedAt", "<", until),
    /** What lists and statistics count: each play once, and long enough. */
    countedOnce: (query: QueryBuilder<ListeningHistory>) =>
      void query.where("listening_history.counted", true).whereNull("listening_history.duplicateOf"),
  };
}
