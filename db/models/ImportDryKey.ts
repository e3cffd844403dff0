import { BaseModel } from "./BaseModel.js";

/** A play that a dry run would have inserted. Written and deleted in bulk, by SQL of their own. */
export class ImportDryKey extends BaseModel {
  static override readonly tableName = "import_dry_keys";
  static override readonly idColumn = ["jobId", "sourceKey"];

  declare jobId: string;
  /** 16 bytes. */
  declare sourceKey: Buffer;
}
