import { BaseModel } from "./BaseModel.js";

/** Two plays that their owner says are two: they are never linked again. */
export class PlayLinkOverride extends BaseModel {
  static override readonly tableName = "play_link_overrides";
  static override readonly idColumn = ["userId", "firstKey", "secondKey"];

  declare userId: string;
  /** The lesser of the two source keys, 16 bytes. */
  declare firstKey: Buffer;
  declare secondKey: Buffer;
  declare createdAt: Date;
}
