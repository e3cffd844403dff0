import { BaseModel } from "./BaseModel.js";

/** How far the sync of one import is. */
export class SyncRun extends BaseModel {
  static override readonly tableName = "sync_runs";
  static override readonly idColumn = "jobId";
  static override readonly jsonAttributes = ["cursor"];

  declare jobId: string;
  /** Of the page under way; null between pages. */
  declare polledAt: Date | null;
  /** In a row. */
  declare failures: number;
  declare pages: number;
  /** Of a dry run. */
  declare cursor: Record<string, unknown> | null;
}
