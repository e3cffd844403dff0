import { BaseModel } from "./BaseModel.js";

/** A key that an artist had before it was renamed or merged. */
export class ArtistAlias extends BaseModel {
  static override readonly tableName = "artist_aliases";
  static override readonly idColumn = "nameKey";

  declare nameKey: string;
  declare artistId: number;
}
