import { BaseModel } from "./BaseModel.js";

/** Sums over one user's counted plays in one year; written in bulk, by SQL of their own. See docs/adr/0017. */
export class StatsYear extends BaseModel {
  static override readonly tableName = "stats_years";
  static override readonly idColumn = ["userId", "year"];

  declare userId: string;
  /** 0: all of time. */
  declare year: number;
  declare firstAt: Date;
  declare lastAt: Date;
  declare plays: number;
  declare msPlayed: number;
  /** Plays of private sessions among them. */
  declare private: number;
}
