import { BaseModel } from "./BaseModel.js";

/** Says that plays of a user have moved to another artist, album or track; written by a trigger. See docs/adr/0017. */
export class StatsMove extends BaseModel {
  static override readonly tableName = "stats_moves";

  declare id: number;
  declare userId: string;
}
