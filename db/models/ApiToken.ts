import { Model } from "objection";
import type { QueryBuilder } from "objection";
import { BaseModel } from "./BaseModel.js";
import { User } from "./User.js";
import type { TokenScope } from "./enums.js";

/** A personal access token; only its SHA-256 is kept. */
export class ApiToken extends BaseModel {
  static override readonly tableName = "api_tokens";

  declare id: string;
  declare userId: string;
  declare name: string;
  declare tokenHash: Buffer;
  declare scopes: TokenScope[];
  declare lastUsedAt: Date | null;
  declare expiresAt: Date | null;
  declare createdAt: Date;
  declare revokedAt: Date | null;
  declare user?: User;

  static override readonly relationMappings = () => ({
    user: {
      relation: Model.BelongsToOneRelation,
      modelClass: User,
      join: { from: "api_tokens.userId", to: "users.id" },
    },
  });

  static override readonly modifiers = {
    live: (query: QueryBuilder<ApiToken>, now: Date) =>
      void query.whereNull("api_tokens.revokedAt").where((either) => {
        void either.whereNull("api_tokens.expiresAt").orWhere("api_tokens.expiresAt", ">", now);
      }),
  };
}
