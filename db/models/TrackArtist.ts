import { BaseModel } from "./BaseModel.js";
import type { CreditRole } from "./enums.js";

/** A credit of an artist on a track. */
export class TrackArtist extends BaseModel {
  static override readonly tableName = "track_artists";
  static override readonly idColumn = ["trackId", "artistId", "role"];

  declare trackId: number;
  declare artistId: number;
  declare position: number;
  declare role: CreditRole;
}
