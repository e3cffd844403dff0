import { BaseModel } from "./BaseModel.js";

/** A track's place on an album. */
export class AlbumTrack extends BaseModel {
  static override readonly tableName = "album_tracks";
  static override readonly idColumn = ["albumId", "trackId"];

  declare albumId: number;
  declare trackId: number;
  declare disc: number | null;
  declare position: number | null;
}
