import { BaseModel } from "./BaseModel.js";
import type { ListedVerdict } from "./enums.js";

/** A rejected record, or one of the first skipped ones, with a sentence and the raw record without personal fields. */
export class ImportRow extends BaseModel {
  static override readonly tableName = "import_rows";
  static override readonly idColumn = ["jobId", "partNo", "position"];

  declare jobId: string;
  declare partNo: number;
  /** 0-based index of the record in the part. */
  declare position: number;
  declare verdict: ListedVerdict;
  declare reason: string;
  declare message: string;
  declare excerpt: string | null;
}
