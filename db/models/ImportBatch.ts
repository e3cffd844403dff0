import { BaseModel } from "./BaseModel.js";

/** Commit marker and ledger of one batch. Arrays of one kind are parallel: the same index is the same record. */
export class ImportBatch extends BaseModel {
  static override readonly tableName = "import_batches";
  static override readonly idColumn = ["jobId", "partNo", "batchNo"];
  static override readonly jsonAttributes = ["reasons"];

  declare jobId: string;
  declare partNo: number;
  declare batchNo: number;
  /** Index in the part of the first of its `read` records. */
  declare firstPosition: number;
  declare read: number;
  declare inserted: number;
  declare duplicate: number;
  declare skipped: number;
  declare rejected: number;
  declare reasons: Partial<Record<"duplicate" | "skipped" | "rejected", Record<string, number>>>;
  /** Plays; 0 = deleted by its owner, or dry run. */
  declare claimedIds: number[];
  /** 0-based index of the record in the part. */
  declare claimedPositions: number[];
  /** 0 = inserted, else the number of the duplicate reason. */
  declare claimedReasons: number[];
  /** Least and greatest of `claimedIds` that are not 0; null when there are none. */
  declare claimedFrom: number | null;
  declare claimedTo: number | null;
  declare skippedPositions: number[];
  declare skippedReasons: number[];
  declare committedAt: Date;
}
