import { Model } from "objection";
import { Album } from "./Album.js";
import { Artist } from "./Artist.js";
import { BaseModel } from "./BaseModel.js";
import { ExternalId } from "./ExternalId.js";
import type { CreditRole } from "./enums.js";

/** Shared catalogue. A track is its artist and normalised title; the album is an attribute of the play. */
export class Track extends BaseModel {
  static override readonly tableName = "tracks";

  declare id: number;
  declare artistId: number;
  declare title: string;
  declare titleKey: string;
  /** Empty, except under the reserved artist, whose tracks are told apart by album too. */
  declare albumKey: string;
  /** Coarser than identity: finds other sightings of the same track. */
  declare looseKey: string;
  declare durationMs: number | null;
  declare isrc: string | null;
  declare popularity: number;
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare artist?: Artist;
  /** Credits where a source lists them; empty means that `artist` is the only one. */
  declare credits?: (Artist & { position: number; role: CreditRole })[];
  declare albums?: (Album & { disc: number | null; position: number | null })[];
  declare externalIds?: ExternalId[];

  static override readonly relationMappings = () => ({
    artist: {
      relation: Model.BelongsToOneRelation,
      modelClass: Artist,
      join: { from: "tracks.artistId", to: "artists.id" },
    },
    credits: {
      relation: Model.ManyToManyRelation,
      modelClass: Artist,
      join: {
        from: "tracks.id",
        through: {
          from: "track_artists.trackId",
          to: "track_artists.artistId",
          extra: ["position", "role"],
        },
        to: "artists.id",
      },
    },
    albums: {
      relation: Model.ManyToManyRelation,
      modelClass: Album,
      join: {
        from: "tracks.id",
        through: { from: "album_tracks.trackId", to: "album_tracks.albumId", extra: ["disc", "position"] },
        to: "albums.id",
      },
    },
    externalIds: {
      relation: Model.HasManyRelation,
      modelClass: ExternalId,
      join: { from: "tracks.id", to: "external_ids.entityId" },
      filter: { entity: "track" },
    },
  });
}
