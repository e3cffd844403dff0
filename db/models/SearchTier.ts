import { BaseModel } from "./BaseModel.js";

/** Up to where, in order of popularity and id, a document belongs to the most popular ones. */
export class SearchTier extends BaseModel {
  static override readonly tableName = "search_tiers";
  static override readonly idColumn = "tier";

  declare tier: 0 | 1;
  declare minPopularity: number;
  /** The last document of this popularity that does. */
  declare maxId: number;
}
