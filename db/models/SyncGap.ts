import { BaseModel } from "./BaseModel.js";

/** A stretch of time that a provider did not tell about any more when it was asked; half-open. */
export class SyncGap extends BaseModel {
  static override readonly tableName = "sync_gaps";
  static override readonly idColumn = ["connectionId", "gapFrom"];

  declare connectionId: string;
  declare gapFrom: Date;
  declare gapUntil: Date;
  declare notedAt: Date;
}
