import { BaseModel } from "./BaseModel.js";

/** From where on a document belongs to the most popular ones. */
export class SearchTier extends BaseModel {
  static override readonly tableName = "search_tiers";
  static override readonly idColumn = "tier";

  declare tier: 0 | 1;
  declare minPopularity: number;
  declare minId: number;
}
