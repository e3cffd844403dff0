import { BaseModel } from "./BaseModel.js";

/** Lets one person create an account; only the SHA-256 of its code is kept. */
export class Invite extends BaseModel {
  static override readonly tableName = "invites";

  declare id: string;
  declare codeHash: Buffer;
  declare createdAt: Date;
  declare expiresAt: Date;
  declare usedAt: Date | null;
}
