import { Model } from "objection";
import { BaseModel } from "./BaseModel.js";
import { ImportJob } from "./ImportJob.js";
import type { ConnectionProvider, ConnectionStatus } from "./enums.js";

/** A user's account at a provider. Tokens are AES-256-GCM under the key that `tokenKeyId` names. */
export class Connection extends BaseModel {
  static override readonly tableName = "connections";
  static override readonly jsonAttributes = ["syncCursor"];

  declare id: string;
  declare userId: string;
  declare provider: ConnectionProvider;
  declare account: string;
  declare status: ConnectionStatus;
  declare accessToken: Buffer | null;
  declare refreshToken: Buffer | null;
  declare tokenKeyId: string | null;
  declare tokenExpiresAt: Date | null;
  declare syncCursor: Record<string, unknown> | null;
  declare everyMinutes: number;
  declare paused: boolean;
  /** What the queue was last told of the schedule; see services/connections/syncing/schedules.ts. */
  declare scheduled: string | null;
  declare proven: boolean;
  declare refusals: number;
  declare refusedSince: Date | null;
  declare version: number;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare jobs?: ImportJob[];

  static override readonly relationMappings = () => ({
    jobs: {
      relation: Model.HasManyRelation,
      modelClass: ImportJob,
      join: { from: "connections.id", to: "import_jobs.connectionId" },
    },
  });
}
