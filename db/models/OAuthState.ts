import { BaseModel } from "./BaseModel.js";
import type { OAuthProvider } from "./enums.js";

/** An authorization that a user has begun at a provider; only the SHA-256 of its state is kept. */
export class OAuthState extends BaseModel {
  static override readonly tableName = "oauth_states";
  static override readonly idColumn = "stateHash";

  declare stateHash: Buffer;
  declare userId: string;
  declare sessionId: string;
  declare provider: OAuthProvider;
  declare verifier: Buffer;
  declare verifierKeyId: string;
  declare createdAt: Date;
}
