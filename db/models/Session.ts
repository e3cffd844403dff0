import { Model } from "objection";
import type { QueryBuilder } from "objection";
import { BaseModel } from "./BaseModel.js";
import { User } from "./User.js";

/** One family of refresh tokens. */
export class Session extends BaseModel {
  static override readonly tableName = "sessions";

  declare id: string;
  declare userId: string;
  /** Number of the refresh token that is valid now. */
  declare refreshCounter: number;
  /** Key of the HMAC in this family's tokens. */
  declare refreshKey: Buffer;
  declare rotatedAt: Date;
  declare userAgent: string | null;
  declare createdAt: Date;
  declare lastUsedAt: Date;
  declare expiresAt: Date;
  declare revokedAt: Date | null;
  declare revokedReason: string | null;
  declare user?: User;

  static override readonly relationMappings = () => ({
    user: {
      relation: Model.BelongsToOneRelation,
      modelClass: User,
      join: { from: "sessions.userId", to: "users.id" },
    },
  });

  static override readonly modifiers = {
    live: (query: QueryBuilder<Session>, now: Date) =>
      void query.whereNull("sessions.revokedAt").where("sessions.expiresAt", ">", now),
  };
}
