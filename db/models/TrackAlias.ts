import { BaseModel } from "./BaseModel.js";

/** A key that a track had before it was renamed or merged. */
export class TrackAlias extends BaseModel {
  static override readonly tableName = "track_aliases";
  static override readonly idColumn = ["artistId", "titleKey", "albumKey"];

  /** Part of the old key; need not be the track's artist. */
  declare artistId: number;
  declare titleKey: string;
  declare albumKey: string;
  declare trackId: number;
}
