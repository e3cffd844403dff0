import { Model } from "objection";
import type { QueryBuilder } from "objection";
import { BaseModel } from "./BaseModel.js";
import { Session } from "./Session.js";
import type { UserRole, Visibility } from "./enums.js";

/** A person with an account. */
export class User extends BaseModel {
  static override readonly tableName = "users";

  /** UUID version 7. */
  declare id: string;
  declare email: string;
  declare username: string;
  declare passwordHash: string;
  declare displayName: string | null;
  declare bio: string | null;
  declare avatarUrl: string | null;
  /** ISO 3166-1 alpha-2, upper case. */
  declare country: string | null;
  /** IANA name; for grouping in statistics only. */
  declare timeZone: string;
  declare role: UserRole;
  declare profileVisibility: Visibility;
  declare historyVisibility: Visibility;
  declare version: number;
  declare disabledAt: Date | null;
  /** Set: the account is being erased. */
  declare eraseRequestedAt: Date | null;
  declare createdAt: Date;
  declare updatedAt: Date;
  declare sessions?: Session[];

  static override readonly relationMappings = () => ({
    sessions: {
      relation: Model.HasManyRelation,
      modelClass: Session,
      join: { from: "users.id", to: "sessions.userId" },
    },
  });

  static override readonly modifiers = {
    enabled: (query: QueryBuilder<User>) => void query.whereNull("users.disabledAt"),
  };
}
