import { BaseModel } from "./BaseModel.js";

/** What a user's sums were made from. Read and written by db/queries/statsRollups.ts and statsBuilds.ts. See docs/adr/0017. */
export class StatsUser extends BaseModel {
  static override readonly tableName = "stats_users";
  static override readonly idColumn = "userId";

  declare userId: string;
  declare historyVersion: number;
  /** IANA name. */
  declare timeZone: string;
  declare build: number;
  declare builtAt: Date;
  declare buildMs: number;
}
