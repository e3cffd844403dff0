import { Model } from "objection";
import type { QueryBuilder } from "objection";
import { BaseModel } from "./BaseModel.js";
import { ImportPart } from "./ImportPart.js";
import { OPEN_IMPORT_STATUSES } from "./enums.js";
import type { ImportKind, ImportStatus } from "./enums.js";

/** One import, and the outbox of its workflow. */
export class ImportJob extends BaseModel {
  static override readonly tableName = "import_jobs";
  static override readonly jsonAttributes = ["options", "totals"];

  declare id: string;
  declare userId: string;
  declare connectionId: string | null;
  declare kind: ImportKind;
  declare status: ImportStatus;
  /** As the client named it; null while content is to tell. */
  declare source: string | null;
  /** Families found in the upload. */
  declare sources: string[];
  declare filename: string | null;
  declare sizeBytes: number | null;
  declare sha256: Buffer | null;
  declare blobKey: string | null;
  declare dryRun: boolean;
  declare options: Record<string, unknown>;
  declare optionsHash: Buffer;
  declare batchRows: number;
  declare parserVersion: number | null;
  declare attempt: number;
  declare workflowId: string;
  declare waitingReason: string | null;
  declare waitingUntil: Date | null;
  declare parkedAt: Date | null;
  declare errorCode: string | null;
  declare errorMessage: string | null;
  /** Counts by verdict and reason, once the job is closed. */
  declare totals: Record<string, unknown> | null;
  /** Brought plays that are not linked with those of other sources yet. */
  declare linkPending: boolean;
  declare version: number;
  declare startAttempts: number;
  declare nextStartAt: Date | null;
  declare createdAt: Date;
  declare startedAt: Date | null;
  declare finishedAt: Date | null;
  declare blobDeleteAfter: Date | null;
  declare parts?: ImportPart[];

  static override readonly relationMappings = () => ({
    parts: {
      relation: Model.HasManyRelation,
      modelClass: ImportPart,
      join: { from: "import_jobs.id", to: "import_parts.jobId" },
    },
  });

  static override readonly modifiers = {
    ofUser: (query: QueryBuilder<ImportJob>, userId: string) =>
      void query.where("import_jobs.userId", userId),
    open: (query: QueryBuilder<ImportJob>) =>
      void query.whereIn("import_jobs.status", [...OPEN_IMPORT_STATUSES]),
  };
}
