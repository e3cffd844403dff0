import { BaseModel } from "./BaseModel.js";

/** A key that an album had before it was renamed or merged. */
export class AlbumAlias extends BaseModel {
  static override readonly tableName = "album_aliases";
  static override readonly idColumn = ["artistId", "titleKey"];

  /** Part of the old key; need not be the album's artist. */
  declare artistId: number;
  declare titleKey: string;
  declare albumId: number;
}
