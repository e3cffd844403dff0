import { BaseModel } from "./BaseModel.js";
import type { PartStatus } from "./enums.js";

/** One file inside an upload. Always `read = inserted + duplicate + skipped + rejected`. */
export class ImportPart extends BaseModel {
  static override readonly tableName = "import_parts";
  static override readonly idColumn = ["jobId", "partNo"];

  declare jobId: string;
  declare partNo: number;
  /** Path inside the archive, or the name of a loose upload. */
  declare name: string;
  declare format: string | null;
  declare status: PartStatus;
  declare bytesTotal: number;
  declare bytesRead: number;
  declare errorCode: string | null;
  declare errorMessage: string | null;
  declare read: number;
  declare inserted: number;
  declare duplicate: number;
  declare skipped: number;
  declare rejected: number;
  /** A part of `inserted`. */
  declare linked: number;
  /** Workers in a row that vanished over this part without a commit. */
  declare lostAttempts: number;
  declare startedAt: Date | null;
  declare finishedAt: Date | null;
}
