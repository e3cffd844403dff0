import { BaseModel } from "./BaseModel.js";
import type { PlaySource } from "./enums.js";

/** A play its owner deleted: no import brings it back, nor another sighting of it. */
export class DeletedPlay extends BaseModel {
  static override readonly tableName = "deleted_plays";
  static override readonly idColumn = ["userId", "sourceKey"];

  declare userId: string;
  declare sourceKey: Buffer;
  declare source: PlaySource;
  declare looseKey: string;
  declare startEarliest: Date;
  declare startLatest: Date;
  /** Null, together with `endLatest`, where the source told no end. */
  declare endEarliest: Date | null;
  declare endLatest: Date | null;
  declare deletedAt: Date;
}
