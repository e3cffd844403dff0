import { BaseModel } from "./BaseModel.js";

/** The answer given to a request with an Idempotency-Key; the response is null while that request still runs. */
export class IdempotencyKey extends BaseModel {
  static override readonly tableName = "idempotency_keys";
  static override readonly idColumn = ["userId", "key"];
  static override readonly jsonAttributes = ["responseHeaders", "responseBody"];

  declare userId: string;
  declare key: string;
  declare requestHash: Buffer;
  declare responseStatus: number | null;
  declare responseHeaders: Record<string, string> | null;
  declare responseBody: unknown;
  declare createdAt: Date;
}
