import { Model } from "objection";
import { Album } from "./Album.js";
import { BaseModel } from "./BaseModel.js";
import { Track } from "./Track.js";

/** Shared catalogue. An artist is its normalised name. */
export class Artist extends BaseModel {
  static override readonly tableName = "artists";

  declare id: number;
  /** As the first source gave it. */
  declare name: string;
  declare nameKey: string;
  declare country: string | null;
  declare popularity: number;
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare albums?: Album[];
  declare tracks?: Track[];

  static override readonly relationMappings = () => ({
    albums: {
      relation: Model.HasManyRelation,
      modelClass: Album,
      join: { from: "artists.id", to: "albums.artistId" },
    },
    tracks: {
      relation: Model.HasManyRelation,
      modelClass: Track,
      join: { from: "artists.id", to: "tracks.artistId" },
    },
  });
}
