import { Model } from "objection";
import { Artist } from "./Artist.js";
import { BaseModel } from "./BaseModel.js";
import { Track } from "./Track.js";

/** Shared catalogue. An album is its artist and normalised title. */
export class Album extends BaseModel {
  static override readonly tableName = "albums";

  declare id: number;
  declare artistId: number;
  declare title: string;
  declare titleKey: string;
  /** `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. */
  declare releaseDate: string | null;
  declare popularity: number;
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare artist?: Artist;
  /** With `disc` and `position` of the track on this album. */
  declare tracks?: (Track & { disc: number | null; position: number | null })[];

  static override readonly relationMappings = () => ({
    artist: {
      relation: Model.BelongsToOneRelation,
      modelClass: Artist,
      join: { from: "albums.artistId", to: "artists.id" },
    },
    tracks: {
      relation: Model.ManyToManyRelation,
      modelClass: Track,
      join: {
        from: "albums.id",
        through: { from: "album_tracks.albumId", to: "album_tracks.trackId", extra: ["disc", "position"] },
        to: "tracks.id",
      },
    },
  });
}
