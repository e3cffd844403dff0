import { BaseModel } from "./BaseModel.js";

/** Part of the keys of cached answers. Read and moved by db/queries/cacheVersions.ts alone. See docs/adr/0011. */
export class CacheVersion extends BaseModel {
  static override readonly tableName = "cache_versions";
  static override readonly idColumn = ["topic", "owner"];

  declare topic: string;
  /** A user's id, or the nil UUID. */
  declare owner: string;
  declare version: number;
}
